"""Words in and out: WordPiece in the layout of BERT's Chinese vocabulary, with the `tokenizers` library.

Text is cleaned, brought to NFKC (full-width letters become half-width), stripped of accents and lowercased; each
Chinese character stands alone, runs of latin letters and digits are split into pieces. A sequence: `[CLS] words [SEP]`.

Deviation from BERT: [IMG], the token that begins a picture, is part of the vocabulary (appended to a BERT vocab.txt).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, normalizers
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFKC, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from torch import Tensor

PAD, UNK, CLS, SEP, MASK, IMG = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[IMG]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK, IMG)
MAX_WORD_CHARACTERS = 100  # a longer run of letters is one unknown word, as in BERT


class M6Tokenizer:
    """Built with `train`, `from_vocab` or `from_pretrained`.

    vocabulary: word pieces in the order of their ids, special tokens included.
    max_length: tokens of the longest text, [CLS] and [SEP] included.
    """

    def __init__(self, vocabulary: Sequence[str], max_length: int = 128) -> None:
        if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 3:
            raise ValueError(f"max_length {max_length!r} must be at least 3: [CLS], one word, [SEP]")
        ids = {token: i for i, token in enumerate(vocabulary)}
        if len(ids) != len(vocabulary):
            twice = [token for token, count in Counter(vocabulary).items() if count > 1]
            raise ValueError(f"the vocabulary holds {twice[0]!r} twice; every line must differ")
        if missing := [token for token in SPECIAL_TOKENS if token not in ids]:
            raise ValueError(f"the vocabulary lacks {', '.join(missing)}")
        if ids[PAD] != 0:
            raise ValueError(f"{PAD} has id {ids[PAD]} in the vocabulary; it must come first (id 0)")
        self.vocabulary = list(vocabulary)
        self.max_length = max_length
        self.ids = ids
        self.pad_token_id, self.unk_token_id, self.cls_token_id = ids[PAD], ids[UNK], ids[CLS]
        self.sep_token_id, self.mask_token_id, self.img_token_id = ids[SEP], ids[MASK], ids[IMG]
        self._special_ids = {ids[token] for token in SPECIAL_TOKENS}
        self._tokenizer = Tokenizer(WordPiece(vocab=ids, unk_token=UNK, max_input_chars_per_word=MAX_WORD_CHARACTERS))
        self._tokenizer.normalizer = make_normalizer()
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._tokenizer.decoder = WordPieceDecoder()

    def __len__(self) -> int:
        return len(self.vocabulary)

    # ---- building

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, max_length: int = 128) -> M6Tokenizer:
        """Learns a vocabulary of at most `vocab_size` word pieces; the same texts give the same vocabulary.

        Kept first: the special tokens and every character seen (and its `##` form where it occurs inside a word). What
        room is left goes to the letters a-z and the digits, then to whole words, most frequent first.
        Raises ValueError when the characters alone do not fit, or when there are none.
        """
        normalizer, splitter = make_normalizer(), BertPreTokenizer()
        words: Counter[str] = Counter()
        for text in texts:
            words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
        if not words:
            raise ValueError("no words to train a tokenizer on: the texts are empty")
        inside = {character for word in words for character in word[1:]}
        seen = {word[0] for word in words} | inside
        tokens = [*SPECIAL_TOKENS, *sorted(seen), *sorted("##" + character for character in inside)]
        if len(tokens) > vocab_size:
            raise ValueError(
                f"vocab_size {vocab_size} is below the {len(tokens)} that the characters of the texts need; raise it"
            )
        latin = "abcdefghijklmnopqrstuvwxyz0123456789"
        whole = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
        wanted = dict.fromkeys([*tokens, *latin, *("##" + character for character in latin), *whole])
        return cls(list(wanted)[:vocab_size], max_length)

    @classmethod
    def from_vocab(cls, path: str | Path, max_length: int = 128) -> M6Tokenizer:
        """Takes a BERT `vocab.txt` (one token a line, the line number is the id) as it is; appends [IMG] if absent."""
        vocabulary = read_vocabulary(Path(path))
        if IMG not in vocabulary:
            vocabulary.append(IMG)
        try:
            return cls(vocabulary, max_length)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes tokenizer.json (for other programs), vocab.txt and tokenizer_config.json."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        standalone = Tokenizer.from_str(self._tokenizer.to_str())
        standalone.post_processor = BertProcessing((SEP, self.sep_token_id), (CLS, self.cls_token_id))
        standalone.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
        config = {"_class_name": "M6Tokenizer", "max_length": self.max_length, "vocab_size": len(self)}
        files = {
            "tokenizer.json": standalone.to_str(pretty=True),
            "vocab.txt": "".join(token + "\n" for token in self.vocabulary),
            "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        }
        for name, content in files.items():
            temporary = directory / f"{name}.tmp"
            temporary.write_text(content, "utf-8", newline="\n")
            os.replace(temporary, directory / name)

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> M6Tokenizer:
        """Reads what `save_pretrained` wrote. Raises ValueError that names the missing, broken or foreign file."""
        path = Path(directory) / "tokenizer_config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} is not there: not an M6 tokenizer folder") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not JSON ({error}): truncated or foreign, copy the folder again") from None
        if not isinstance(config, dict) or config.get("_class_name") != "M6Tokenizer" or "max_length" not in config:
            raise ValueError(f"{path} is not the config of an M6 tokenizer")
        vocab_path = Path(directory) / "vocab.txt"
        vocabulary = read_vocabulary(vocab_path)
        if len(vocabulary) != config.get("vocab_size", len(vocabulary)):
            raise ValueError(
                f"{vocab_path} holds {len(vocabulary)} tokens, {path.name} says {config['vocab_size']}: "
                "truncated or foreign, copy the folder again"
            )
        try:
            return cls(vocabulary, config["max_length"])
        except ValueError as error:
            raise ValueError(f"{vocab_path}: {error}") from None

    # ---- use

    def tokenize(self, text: str) -> list[str]:
        """The word pieces of `text`, [UNK] for what the vocabulary lacks; no [CLS], no [SEP], of any length."""
        return self._tokenizer.encode(text, add_special_tokens=False).tokens

    def encode(self, text: str, allow_empty: bool = False) -> list[int]:
        """`[CLS] words [SEP]` as ids.

        Raises ValueError for a text without words (unless `allow_empty`: then [CLS] [SEP]) and for one that is longer
        than `max_length` tokens; nothing is ever cut.
        """
        words = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not words and not allow_empty:
            raise ValueError(f"the prompt is empty ({text!r}); write what the picture shows, such as 红色高跟鞋")
        length = len(words) + 2
        if length > self.max_length:
            raise ValueError(
                f"the prompt is {length} tokens long with [CLS] and [SEP], the limit is {self.max_length}; "
                f"shorten it by {length - self.max_length}: {text[:20]!r}{'...' if len(text) > 20 else ''}"
            )
        return [self.cls_token_id, *words, self.sep_token_id]

    def batch(self, texts: Sequence[str], allow_empty: bool = False) -> tuple[Tensor, Tensor]:
        """input_ids (B, T) int64, padded on the right to the longest text, and attention_mask (B, T) bool."""
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"texts {texts!r} must be a list of at least one text")
        rows = [self.encode(text, allow_empty) for text in texts]
        longest = max(map(len, rows))
        input_ids = torch.tensor([row + [self.pad_token_id] * (longest - len(row)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        return input_ids, torch.arange(longest) < lengths[:, None]

    def unknown_words(self, text: str) -> list[str]:
        """What becomes [UNK]: the words or characters as written in `text`, in order, each once."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        spans = [span for i, span in zip(encoding.ids, encoding.offsets, strict=True) if i == self.unk_token_id]
        return list(dict.fromkeys(text[start:end] for start, end in spans))

    def decode(self, ids: Iterable[int] | Tensor) -> str:
        """The text of token ids, without special tokens; spaces stand between latin words only."""
        pieces: list[str] = []
        for i in ids.tolist() if isinstance(ids, Tensor) else ids:
            if not 0 <= i < len(self):
                raise ValueError(f"token id {i} is outside the vocabulary of {len(self)}")
            if i in self._special_ids:
                continue
            piece = self.vocabulary[i]
            if piece.startswith("##") and len(piece) > 2:
                pieces.append(piece[2:])
            else:
                apart = pieces and is_latin(pieces[-1][-1]) and is_latin(piece[0])
                pieces.append(" " + piece if apart else piece)
        return "".join(pieces)


def make_normalizer() -> normalizers.Sequence:
    bert = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
    return normalizers.Sequence([NFKC(), bert])


def is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def read_vocabulary(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError:
        raise ValueError(f"{path} is not there: a tokenizer needs its vocabulary") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}): truncated or foreign") from None
    lines = [line.removesuffix("\r") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines):
        raise ValueError(f"{path} has an empty line {lines.index('') + 1 if lines else 1}: one token a line is needed")
    return lines
