"""`PatternPreTokenizer` as loops over UTF-8 bytes: where the piece that starts at a place ends.

Every pattern tries its alternatives in order and takes the longest run of each, so one look at the first one or two
characters decides which alternative it is. Only o200k's words go back, over letters without case. ASCII letters are
passed eight at a time.
"""

from ._jit import bare, inlined
from .pretokenize import CASELESS, LETTER, LOWER, MARK, NUMBER, SPACE, SYMBOL, UPPER
from .utf8 import character, letters_end

GPT2, CL100K, LLAMA3, O200K = range(4)
PATTERN_NUMBERS = {"gpt2": GPT2, "cl100k": CL100K, "llama3": LLAMA3, "o200k": O200K}
STARTS, INSIDE = UPPER | CASELESS | MARK, LOWER | CASELESS | MARK  # o200k's words: capitals, then small letters
BLANK, NEWLINE, RETURN, SLASH, APOSTROPHE = 0x20, 0x0A, 0x0D, 0x2F, 0x27
LONG_S = 0xC5, 0xBF


@inlined
def kind_at(kinds, data, i, stop):
    """(kind, bytes) of the character at i; the end of the text counts as white space."""
    if i >= stop:
        return SPACE, 0
    code, size = character(data, i)
    return int(kinds[code]), size


@inlined
def run_end(kinds, data, i, stop, mask):
    """End of the run of characters of some kinds."""
    while i < stop:
        kind, size = kind_at(kinds, data, i, stop)
        if not kind & mask:
            break
        i += size
    return i


@inlined
def letter_run_end(kinds, data, i, stop):
    """End of the run of letters."""
    i = letters_end(data, i, stop)
    return run_end(kinds, data, i, stop, LETTER) if i < stop and data[i] >= 0x80 else i


@inlined
def lower_ascii(byte):
    """An ASCII letter in lower case, any other byte as it is."""
    return byte + 32 if 65 <= byte <= 90 else byte


@inlined
def contraction(data, i, stop, any_case):
    """End of 's 't 'm 'd 'll 've 're at i, or i; the long s is an s in any case."""
    if i + 1 >= stop or data[i] != APOSTROPHE:
        return i
    a = int(data[i + 1])
    b = int(data[i + 2]) if i + 2 < stop else 0
    if any_case and a == LONG_S[0] and b == LONG_S[1]:
        return i + 3
    if any_case:
        a, b = lower_ascii(a), lower_ascii(b)
    if a == ord("s") or a == ord("t") or a == ord("m") or a == ord("d"):
        return i + 2
    if (a == ord("l") and b == ord("l")) or (b == ord("e") and (a == ord("v") or a == ord("r"))):
        return i + 3
    return i


@inlined
def blanks_end(kinds, data, i, stop, pattern):
    """End of a piece of white space: up to its last line end, or leaving one for the word after it."""
    end, last, line_end = i, i, i
    while end < stop:
        kind, size = kind_at(kinds, data, end, stop)
        if kind != SPACE:
            break
        last, end = end, end + size
        if data[last] == NEWLINE or data[last] == RETURN:
            line_end = end
    if end == stop and pattern == CL100K:
        return end
    if line_end > i and pattern != GPT2:
        return line_end
    return end if end == stop or last == i else last


@bare
def kind_before(kinds, data, i):
    """(kind, start) of the character that ends at i."""
    i -= 1
    while data[i] & 0xC0 == 0x80:
        i -= 1
    code, _ = character(data, i)
    return int(kinds[code]), i


@bare
def cased_word(kinds, data, i, stop):
    """End of o200k's word at i: capitals* small+, or capitals+ small*; letters without case are both."""
    end = run_end(kinds, data, i, stop, STARTS)
    kind, _ = kind_at(kinds, data, end, stop)
    if kind & INSIDE:
        return run_end(kinds, data, end, stop, INSIDE)
    back = end
    while back > i:
        kind, before = kind_before(kinds, data, back)
        if kind & INSIDE:
            break
        back = before
    return back if back > i else end


@bare
def o200k_word(kinds, data, i, stop):
    """End of o200k's word with the one character that may precede it and the contraction that may follow, or i."""
    kind, size = kind_at(kinds, data, i, stop)
    lead = not kind & (LETTER | NUMBER) and data[i] != NEWLINE and data[i] != RETURN and i + size < stop
    # with small letters before without them, and then with the leading character before without it
    start = i + size if lead else i
    end = cased_word(kinds, data, start, stop)
    if lead and kind == MARK and not (end > start and kind_before(kinds, data, end)[0] & INSIDE):
        start = i  # the mark is not a lead but begins the word, and is its small letter too
        end = cased_word(kinds, data, start, stop)
    return contraction(data, end, stop, True) if end > start else i


@inlined
def piece_end(pattern, kinds, data, i, stop):
    """End of the piece at i < stop of a text that ends at `stop`."""
    byte, (kind, size) = data[i], kind_at(kinds, data, i, stop)
    if pattern == O200K:
        end = o200k_word(kinds, data, i, stop)
        if end > i:
            return end
    elif byte == APOSTROPHE:
        end = contraction(data, i, stop, pattern != GPT2)
        if end > i:
            return end
    after, _ = kind_at(kinds, data, i + size, stop)
    if pattern == GPT2:
        start = i
        if byte == BLANK and after != SPACE:
            start, kind = i + 1, after
        if kind & LETTER:
            return letter_run_end(kinds, data, start, stop)
        if kind != SPACE:
            return run_end(kinds, data, start, stop, kind if kind == NUMBER else SYMBOL)
        return blanks_end(kinds, data, i, stop, pattern)
    if kind & LETTER:
        return letter_run_end(kinds, data, i, stop)
    if kind == NUMBER:
        for _ in range(3):
            kind, size = kind_at(kinds, data, i, stop)
            if kind == NUMBER:
                i += size
        return i
    if pattern != O200K and after & LETTER and byte != NEWLINE and byte != RETURN:
        return letter_run_end(kinds, data, i + size, stop)
    if kind & SYMBOL or (byte == BLANK and after & SYMBOL):
        end = run_end(kinds, data, i + size, stop, SYMBOL)
        while end < stop and (data[end] == NEWLINE or data[end] == RETURN or (pattern == O200K and data[end] == SLASH)):
            end += 1
        return end
    return blanks_end(kinds, data, i, stop, pattern)
