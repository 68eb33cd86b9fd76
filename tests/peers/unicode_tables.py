#!/usr/bin/env python3
"""Writes text/tokens/unicode_tables.h: how the Rust package `tokenizers` classifies every code point.

  python tests/peers/unicode_tables.py > text/tokens/unicode_tables.h

That package freezes several versions of Unicode (letters and numbers 16, BERT's punctuation and marks 8), so that
neither the distribution's tables nor any single version can serve. Asked of it here code point by code point.
"""
import ctypes
import ctypes.util

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(wanted):
    found = []
    for c in CODE_POINTS:
        if wanted(c):
            if found and found[-1][1] == c - 1:
                found[-1][1] = c
            else:
                found.append([c, c])
    return found


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


def unknown_to_normalisation():
    """Whether the package's composition and decomposition, frozen at Unicode 9, pass a code point by as if it were
    unassigned while libutf8proc moves it."""
    library = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
    library.utf8proc_get_property.restype = ctypes.POINTER(Property)
    apart = normalizers.NFD()

    def moves(c):  # past a mark of class 1, or before one of class 220
        return apart.normalize_str(chr(c) + "\u0334") != apart.normalize_str(chr(c)) + "\u0334" or \
            apart.normalize_str("\u0323" + chr(c)) != "\u0323" + apart.normalize_str(chr(c))

    # U+11935 U+11930 is U+11938 since Unicode 13, the only such pair.
    return lambda c: c in (0x11930, 0x11938) or (
        library.utf8proc_get_property(c).contents.combining_class != 0 and not moves(c))


def write(name, comment, rows):
    print(f"\n/// {comment}\ninline constexpr CodeRange {name}[] = {{")
    line = "   "
    for first, last in rows:
        item = f" {{0x{first:x}, 0x{last:x}}},"
        if len(line) + len(item) > 118:
            print(line)
            line = "   "
        line += item
    print(line + "\n};")


def main():
    bert = normalizers.BertNormalizer
    clean = bert(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    strip = bert(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    punctuation = pre_tokenizers.BertPreTokenizer()
    lower = normalizers.Lowercase()
    letter, number = (normalizers.Replace(Regex(rf"\p{{{kind}}}"), "") for kind in "LN")
    print("#pragma once\n// Written by tests/peers/unicode_tables.py from tokenizers", tokenizers.__version__,
          "- do not edit.\n\nnamespace thaw::text {\n\nstruct CodeRange {\n  char32_t first, last;\n};")
    write("kLetters", r"\p{L} of its regular expressions.", ranges(lambda c: letter.normalize_str(chr(c)) == ""))
    write("kNumbers", r"\p{N} of its regular expressions.", ranges(lambda c: number.normalize_str(chr(c)) == ""))
    write("kBertRemoved", "What BERT's cleaning drops.", ranges(lambda c: clean.normalize_str(f"a{chr(c)}b") == "ab"))
    write("kBertMarks", "What BERT's accent stripping drops after decomposition.",
          ranges(lambda c: strip.normalize_str(chr(c)) == ""))
    write("kBertPunctuation", "What BERT's splitting makes a token of its own.",
          ranges(lambda c: [t for t, _ in punctuation.pre_tokenize_str(f"a{chr(c)}b")] == ["a", chr(c), "b"]))
    write("kUnknownMarks", "What its composition and decomposition pass by, being newer.", ranges(unknown_to_normalisation()))
    new = [(c, ord(lower.normalize_str(chr(c)))) for c in CODE_POINTS
           if len(lower.normalize_str(chr(c))) == 1 and lower.normalize_str(chr(c)) != chr(c).lower()]
    write("kNewLower", "Capital and small letter, where Unicode 14 has none.", new)
    print("\n}  // namespace thaw::text")


if __name__ == "__main__":
    main()
