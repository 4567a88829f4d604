"""Laws of the tokenizer: nothing is lost, cut or guessed in silence."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer

from m6_prior import M6Tokenizer

TEXTS = ["军旅风迷彩高跟鞋", "减震透气跑鞋", "红色T恤", "iPhone手机壳", "iphone 15 Pro", "绵羊毛商务休闲西服套装"]


@pytest.fixture(scope="module")
def tokenizer() -> M6Tokenizer:
    return M6Tokenizer.train(TEXTS, 300, max_length=12)


def test_training_is_deterministic_and_keeps_every_character(tokenizer):
    again = M6Tokenizer.train(list(TEXTS), 300, max_length=12)
    assert again.vocabulary == tokenizer.vocabulary
    assert tokenizer.vocabulary[:6] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[IMG]"]
    assert not any(tokenizer.unknown_words(text) for text in TEXTS)
    assert len(tokenizer) == len(set(tokenizer.vocabulary)) <= 300


def test_a_vocabulary_too_small_for_the_characters_is_refused():
    with pytest.raises(ValueError, match="vocab_size 10 is below the"):
        M6Tokenizer.train(TEXTS, 10)
    with pytest.raises(ValueError, match="no words to train"):
        M6Tokenizer.train(["", " "], 100)


def test_chinese_characters_stand_alone_and_latin_runs_are_pieces(tokenizer):
    assert tokenizer.tokenize("高跟鞋") == ["高", "跟", "鞋"]
    assert tokenizer.tokenize("iPhone手机壳") == ["iphone", "手", "机", "壳"]
    assert tokenizer.tokenize("iph") == ["i", "##p", "##h"]


def test_full_width_and_upper_case_read_as_plain_letters(tokenizer):
    assert tokenizer.encode("红色Ｔ恤") == tokenizer.encode("红色t恤") == tokenizer.encode(" 红色 T恤\n")


def test_encoding_begins_with_cls_and_ends_with_sep(tokenizer):
    ids = tokenizer.encode("跑鞋")
    assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id and len(ids) == 4
    assert tokenizer.pad_token_id == 0


def test_special_tokens_written_in_a_prompt_are_not_special(tokenizer):
    inner = tokenizer.encode("鞋[SEP]鞋")[1:-1]
    assert tokenizer.sep_token_id not in inner and tokenizer.img_token_id not in tokenizer.encode("[IMG]")


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u3000", "\u200b"])
def test_empty_prompts_are_refused(tokenizer, text):
    with pytest.raises(ValueError, match="the prompt is empty"):
        tokenizer.encode(text)
    assert tokenizer.encode(text, allow_empty=True) == [tokenizer.cls_token_id, tokenizer.sep_token_id]


def test_long_prompts_are_refused_and_never_cut(tokenizer):
    assert len(tokenizer.encode("鞋" * 10)) == 12
    with pytest.raises(ValueError, match="the prompt is 13 tokens long with .*the limit is 12; shorten it by 1"):
        tokenizer.encode("鞋" * 11)


def test_unknown_words_are_told_in_order_and_once(tokenizer):
    assert tokenizer.unknown_words("红色飞碟鞋和飞碟") == ["飞", "碟", "和"]
    assert tokenizer.unknown_words("红鞋 Ñandú 😀 鞋ＺＺ龘") == ["😀", "龘"]
    assert tokenizer.unknown_words("pro😀鞋") == ["pro😀"], "a word with one unknown letter is unknown, as in BERT"
    assert tokenizer.unknown_words("") == []
    assert tokenizer.encode("飞鞋")[1] == tokenizer.unk_token_id


def test_batches_are_padded_on_the_right(tokenizer):
    input_ids, mask = tokenizer.batch(["跑鞋", "", "红色高跟鞋"], allow_empty=True)
    assert input_ids.shape == (3, 7) and input_ids.dtype == torch.int64 and mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [4, 2, 7]
    assert (input_ids[~mask] == tokenizer.pad_token_id).all()
    assert input_ids[0, :4].tolist() == tokenizer.encode("跑鞋")
    with pytest.raises(ValueError, match="the prompt is empty"):
        tokenizer.batch(["跑鞋", ""])
    with pytest.raises(ValueError, match="must be a list"):
        tokenizer.batch("跑鞋")


def test_decoding_gives_the_text_back(tokenizer):
    for text in ("军旅风迷彩高跟鞋", "红色t恤", "iphone 15 pro手机壳"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(torch.tensor(tokenizer.encode("跑鞋"))) == "跑鞋"
    with pytest.raises(ValueError, match="token id 9999 is outside"):
        tokenizer.decode([9999])


def test_saved_and_loaded_tokenizers_are_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = M6Tokenizer.from_pretrained(tmp_path)
    assert loaded.vocabulary == tokenizer.vocabulary and loaded.max_length == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    foreign = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert foreign.encode("红色T恤").ids == tokenizer.encode("红色T恤")


def test_a_bert_vocabulary_is_taken_as_it_is(tmp_path):
    tokens = [
        "[PAD]",
        *(f"[unused{i}]" for i in range(1, 100)),
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "红",
        "鞋",
        "##t",
        "t",
    ]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(tokens) + "\n", "utf-8")
    tokenizer = M6Tokenizer.from_vocab(path, max_length=32)
    assert tokenizer.vocabulary == [*tokens, "[IMG]"]
    assert tokenizer.encode("红Tt鞋") == [101, 104, 107, 106, 105, 102]


def test_broken_tokenizer_folders_are_named(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="tokenizer_config.json is not there"):
        M6Tokenizer.from_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    vocabulary, config = tmp_path / "vocab.txt", tmp_path / "tokenizer_config.json"
    whole = vocabulary.read_text("utf-8")
    vocabulary.write_text(whole[: len(whole) // 2], "utf-8")
    with pytest.raises(ValueError, match="vocab.txt holds .* truncated or foreign"):
        M6Tokenizer.from_pretrained(tmp_path)
    vocabulary.write_bytes(whole.encode("gbk", "ignore"))
    with pytest.raises(ValueError, match="vocab.txt is not UTF-8"):
        M6Tokenizer.from_pretrained(tmp_path)
    vocabulary.unlink()
    with pytest.raises(ValueError, match="vocab.txt is not there"):
        M6Tokenizer.from_pretrained(tmp_path)
    config.write_text(json.dumps({"_class_name": "BertTokenizer"}))
    with pytest.raises(ValueError, match="not the config of an M6 tokenizer"):
        M6Tokenizer.from_pretrained(tmp_path)
    config.write_text("{")
    with pytest.raises(ValueError, match="tokenizer_config.json is not JSON"):
        M6Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]"], r"lacks \[MASK\]"),
        (
            ["红", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            r"\[PAD\] has id 1 in the vocabulary; it must come first",
        ),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "红"], "holds '红' twice"),
        (["[PAD]", "", "[UNK]"], "empty line 2"),
        ([], "empty line 1"),
    ],
)
def test_foreign_vocabularies_are_refused(tmp_path, lines, message):
    (tmp_path / "vocab.txt").write_text("\n".join(lines), "utf-8")
    with pytest.raises(ValueError, match=message):
        M6Tokenizer.from_vocab(tmp_path / "vocab.txt")
