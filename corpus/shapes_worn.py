"""Shapes of what is worn: shoes, clothes, hats. One function a category, two or three variants each."""

import random
from collections.abc import Callable

from corpus.sketch import BLACK, CREAM, WHITE, Sketch, oval

SHIRT, SHIRT_BLUE, TIE_RED, TIE_DARK = 0xFFF4F5F8, 0xFFBCD2F0, 0xFFB01E2C, 0xFF2A2C44
LINING = 0xFF4A4A50


def high_heel(rng: random.Random) -> Sketch:
    """高跟鞋: a pump in profile, toe to the left: slim heel, block heel, or with an ankle strap."""
    sketch = Sketch()
    variant = rng.choice(("slim", "block", "strap"))
    top = rng.uniform(0, 5)
    foot = 9.0 if variant == "block" else 4.6
    sketch.fill(
        f"M81,42 L99,34 C98.5,48 96.5,60 96,72 L{96 - foot},72 C{95 - foot},60 88,52 81,46 Z", "dark", 0.7
    )
    sketch.fill(
        f"M36,43 C50,36 74,26 94,{top + 5} C88,20 80,32 70,42 C60,52 46,52 36,43 Z", CREAM, 0.8
    )
    if variant == "strap":
        sketch.line(f"M66,40 C64,24 78,10 93,{top + 8}", "main", 4.2, 0.6)
    throat = rng.uniform(-2, 2)
    sketch.surface(
        f"M1.5,67 C5,58 20,51 {36 + throat},43 C{44 + throat},52 58,51 68,41 C79,29 86,15 93.5,{top + 4} "
        "C98.5,12 100.5,28 99,40 C93,43 85,46 78,53 C67,64 52,72 37,72 L8,72 C3,72 0,70 1.5,67 Z"
    )
    sketch.line("M6,72.6 L38,72.6 C53,72 67,65 78,54", "dark", 2.0)
    return sketch


def running_shoe(rng: random.Random) -> Sketch:
    """跑鞋: a sneaker in profile, toe to the left: low, chunky sole, or high collar."""
    sketch = Sketch()
    variant = rng.choice(("low", "chunky", "high"))
    collar = {"low": 12.0, "chunky": 10.0, "high": 2.0}[variant] + rng.uniform(-2, 2)
    sole = {"low": 66.0, "chunky": 70.0, "high": 67.0}[variant]
    sketch.fill(
        f"M54,{collar + 6} C62,{collar - 1} 80,{collar - 3} 90,{collar} "
        f"L86,{collar + 14} L62,{collar + 16} Z", LINING, 0.6,
    )
    sketch.surface(
        f"M4,56 C3,45 14,41 27,38 C38,35 46,22 54,{collar + 3} C62,{collar + 12} 74,{collar + 12} "
        f"82,{collar + 4} C86,{collar - 1} 91,{collar - 1} 93,{collar + 2} C92,{collar + 14} 98,42 97,57 Z"
    )
    sketch.fill(f"M93,{collar + 2} C92,{collar + 14} 98,42 97,57 L83,57 C82,46 82,34 86,{collar + 3} "
                f"C88,{collar - 1} 91,{collar - 1} 93,{collar + 2} Z", "dark", 0.5)
    sketch.fill("M4,56 C3,48 10,43.5 17,41 C24,45 27,51 27,57 Z", "dark", 0.4)
    bottom = f"C2,{sole} 0,60 2,54"
    sketch.fill(f"M2,54 C30,60 60,52 99,54 C102,60 101,{sole} 95,{sole} L10,{sole} {bottom} Z", WHITE, 1.0)
    sketch.line(f"M8,{sole - 1} L95,{sole - 1}", "dark", 2.6)
    for step in range(3):
        x, y = 34 + step * 7.5, 38.5 - step * (8.4 - collar * 0.22)
        sketch.line(f"M{x},{y} L{x + 7},{y + 6}", 0xFFFFFFFF, 2.4, 0.5)
    return sketch


def suit(rng: random.Random) -> Sketch:
    """西服: a jacket from the front: one row of buttons, two rows, or a shawl collar with a bow tie."""
    sketch = Sketch()
    variant = rng.choice(("single", "double", "shawl"))
    hem = rng.uniform(96, 104)
    spread = rng.uniform(0, 5)
    sketch.both_sides(
        f"M27,12 C17,15 13,24 10,40 C7,56 {3 - spread / 2},70 {2 - spread},86 C6,91 13,92 17,90 "
        "C20,74 25,58 30,44 Z", "surface", 50.0)
    sketch.fill("M38,6 L62,6 L58,62 L42,62 Z", rng.choice((SHIRT, SHIRT, SHIRT_BLUE)), 0.3)
    if variant == "shawl":
        sketch.fill("M50,15 L40,10 L40,21 Z M50,15 L60,10 L60,21 Z", BLACK, 0.0)
    else:
        sketch.fill("M46.5,12 L53.5,12 L52.5,17 L56,46 L50,54 L44,46 L47.5,17 Z",
                    rng.choice((TIE_RED, TIE_DARK)), 0.4)
    sketch.both_sides(
        f"M38,5 C33,9 29,11 25,13 C27,28 29,42 26,60 C24,76 23,88 22,{hem} "
        f"C32,{hem + 3} 42,{hem + 2} 51,{hem - 2} "
        "L51,54 C46,40 41,22 38,5 Z", "surface", 50.0)
    if variant == "shawl":
        lapel = "M38,4 C33,9 31,14 31,22 C34,36 42,48 50,57 C48,40 42,22 38,4 Z"
        sketch.both_sides(lapel, BLACK, 50.0, 0.5)
    else:
        lapel = "M38,4 L31,13 L28,27 L34,27 L32,32 L49.5,57 C48,40 42,22 38,4 Z"
        sketch.both_sides(lapel, "dark", 50.0, 0.6)
    sketch.line(f"M50.5,57 L50.5,{hem - 2}", 0x88000000, 0.9)
    buttons = (47.0, 56.0) if variant == "double" else (53.5,)
    for x in buttons:
        for y in (62.0, 72.0):
            sketch.fill(oval(x, y, 1.7, 1.7), 0xFF2B2420, 0.0)
    sketch.both_sides("M29,76 L42,77.5 L42,80.5 L29,79 Z", "dark", 50.0, 0.4)
    return sketch


def dress(rng: random.Random) -> Sketch:
    """连衣裙: sleeveless, short or long sleeves over a flared skirt with a belt."""
    sketch = Sketch()
    variant = rng.choice(("straps", "short", "long"))
    hem = rng.uniform(96, 106)
    flare = rng.uniform(34, 42)
    if variant == "short":
        sketch.both_sides("M36,9 C27,11 21,18 17,28 L29,35 L37,25 Z", "surface", 50.0)
    if variant == "long":
        sketch.both_sides("M36,9 C27,12 23,24 20,40 L15,60 L24,63 L35,32 Z", "surface", 50.0)
    if variant != "straps":
        sketch.fill(oval(50, 11, 9, 4), "dark", 0.3)
    skirt = (f"M36,48 C30,66 {50 - flare + 4},82 {50 - flare},{hem - 6} C{50 - flare / 2},{hem + 3} "
             f"{50 + flare / 2},{hem + 3} {50 + flare},{hem - 6} C{50 + flare - 4},82 70,66 64,48 Z")
    sketch.surface(skirt)
    for x, lean in ((43.0, -9.0), (57.0, 9.0)):
        sketch.line(f"M{x},54 C{x + lean * 0.4},70 {x + lean},84 {x + lean * 1.3},{hem - 6}", 0x38000000, 1.3)
    if variant == "straps":
        sketch.line("M39,20 L40,4", "main", 3.4, 0.6)
        sketch.line("M61,20 L60,4", "main", 3.4, 0.6)
        sketch.surface(
            "M36,18 C42,15 46,20 50,21 C54,20 58,15 64,18 C66,30 63,40 64,50 L36,50 C37,40 34,30 36,18 Z"
        )
    else:
        sketch.surface("M36,9 L41,8 C44,17 56,17 59,8 L64,9 C68,18 64,38 64,50 L36,50 C36,38 32,18 36,9 Z")
    sketch.fill("M35.5,46.5 C45,49 55,49 64.5,46.5 L64.8,52 C55,54.5 45,54.5 35.2,52 Z", "dark", 0.5)
    return sketch


def tee(rng: random.Random) -> Sketch:
    """T恤: short sleeves with a round or a pointed neck, or long sleeves."""
    sketch = Sketch()
    variant = rng.choice(("round", "vee", "long"))
    hem = rng.uniform(92, 100)
    neck = 24.0 if variant == "vee" else 17.0
    sketch.fill(oval(50, 10, 13, 5), "dark", 0.3)
    if variant == "long":
        sketch.both_sides("M28,8 C18,12 13,24 10,40 L2,76 L14,80 L30,40 Z", "surface", 50.0)
    else:
        reach = rng.uniform(0, 4)
        sketch.both_sides(f"M30,7 C20,10 12,20 {5 - reach},36 L{20 - reach},45 L32,34 Z", "surface", 50.0)
    collar = f"C40,{neck} 44,{neck} 50,{neck} C56,{neck} 60,{neck} 63,8"
    if variant == "vee":
        collar = f"L50,{neck + 3} L63,8"
    sketch.surface(
        f"M37,8 {collar} L72,8 C76,20 74,34 74,44 C74,62 75,80 76,{hem} C60,{hem + 3} 40,{hem + 3} 24,{hem} "
        "C25,80 26,62 26,44 C26,34 24,20 28,8 Z"
    )
    sketch.line(f"M37,8 {collar}", "dark", 2.2)
    return sketch


def hat(rng: random.Random) -> Sketch:
    """帽子: a cap, a wide brim with a ribbon, or a bucket hat."""
    sketch = Sketch()
    variant = rng.choice(("cap", "brim", "bucket"))
    if variant == "cap":
        crown = rng.uniform(4, 10)
        sketch.fill("M64,55 C80,50 100,56 108,68 C96,73 78,70 60,68 Z", "dark", 0.9)
        sketch.surface(f"M6,66 C4,36 16,{crown} 42,{crown} C66,{crown} 76,34 76,62 C60,72 26,74 6,66 Z")
        sketch.line(f"M42,{crown} C30,22 27,46 28,70", 0x50000000, 1.2)
        sketch.line(f"M42,{crown} C56,22 60,44 60,68", 0x50000000, 1.2)
        sketch.fill(oval(42, crown, 3.6, 2.2), "dark", 0.5)
    elif variant == "brim":
        rise = rng.uniform(4, 10)
        sketch.surface("M0,62 C18,52 82,52 110,60 C106,74 82,80 56,80 C28,80 6,76 0,62 Z")
        sketch.surface(f"M24,62 C24,38 30,{rise + 2} 40,{rise} C48,{rise - 1} 52,{rise + 6} 57,{rise + 5} "
                       f"C64,{rise - 1} 72,{rise} 76,{rise + 6} C84,26 86,44 86,62 C70,69 40,69 24,62 Z")
        sketch.fill("M24,53 C40,60 70,60 86,53 L86,62 C70,69 40,69 24,62 Z", "dark", 0.5)
    else:
        sketch.surface("M16,44 L2,72 C24,88 80,88 102,72 L88,44 Z")
        sketch.surface("M16,46 L25,12 C38,4 66,4 79,12 L88,46 C70,56 34,56 16,46 Z")
        sketch.line("M16,46 C34,56 70,56 88,46", 0x66000000, 1.4)
    return sketch


WORN: dict[str, Callable[[random.Random], Sketch]] = {
    "高跟鞋": high_heel, "跑鞋": running_shoe, "西服": suit, "连衣裙": dress, "T恤": tee, "帽子": hat,
}
