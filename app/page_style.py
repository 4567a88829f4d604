"""How the page looks: a quiet frame around the pictures. Fonts are the system's, none is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio

FONTS = ["system-ui", "PingFang SC", "Noto Sans CJK SC", "Noto Sans SC", "Microsoft YaHei", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#header { padding: 10px 2px 2px; }
#header h1 { font-size: 1.7rem; font-weight: 700; letter-spacing: .01em; margin: 0; }
#header p { margin: 2px 0 0; color: var(--body-text-color-subdued); }
#desk { display: grid; grid-template: "ask show" auto "tune show" 1fr / 5fr 7fr; align-items: start; }
#desk > .column { min-width: 0 !important; }
#ask { grid-area: ask; }
#show { grid-area: show; }
#tune { grid-area: tune; }
#prompt textarea { font-size: 1.15rem; line-height: 1.5; }
#actions { align-items: stretch; }
#actions button { min-height: 48px; font-size: 1.05rem; white-space: nowrap; padding-inline: 8px; }
#examples .gallery { gap: 6px; flex-wrap: wrap; }
#examples .gallery-item { border-radius: 999px; padding: 2px 10px; }
#pictures { background: var(--block-background-fill); min-height: 320px; }
#pictures .grid-wrap { max-height: none; height: auto; }
#pictures img { background: #fff; object-fit: contain; }
#status { min-height: 3rem; padding: 0 2px; }
#status .error, #status button[aria-label="Clear"] { display: none; }
#status p { margin: 0; font-variant-numeric: tabular-nums; }
#seed-row { align-items: end; }
#seed-row button { white-space: nowrap; padding-inline: 4px; font-size: .85rem; }
#seed-row { gap: 8px; }
@media (max-width: 760px) {
  #desk { grid-template: "ask" "show" "tune" / 1fr; }
  .gradio-container { padding: 8px !important; }
  #header h1 { font-size: 1.35rem; }
  #examples .gallery-item { padding: 0 4px; font-size: .85rem; }
}
"""


def make_theme() -> gradio.themes.Base:
    import gradio as gr

    theme = gr.themes.Soft(
        primary_hue="orange", secondary_hue="stone", neutral_hue="stone", font=FONTS, font_mono=MONO,
        radius_size="lg", spacing_size="md",
    )  # fmt: skip
    return theme.set(
        body_background_fill="*neutral_50",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_padding="0",
        block_label_text_color="*body_text_color",
        block_shadow="0 1px 2px rgb(0 0 0 / .06)",
    )
