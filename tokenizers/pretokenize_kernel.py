"""`PatternPreTokenizer` as loops over code points: where the piece that starts at a place ends.

Every pattern tries its alternatives in order and takes the longest run of each, so one look at the first one or two
code points decides which alternative it is. Only o200k's words go back, over letters without case.
"""

from ._jit import kernel
from .pretokenize import CASELESS, LETTER, LOWER, MARK, NUMBER, SPACE, SYMBOL, UPPER

GPT2, CL100K, LLAMA3, O200K = range(4)
PATTERN_NUMBERS = {"gpt2": GPT2, "cl100k": CL100K, "llama3": LLAMA3, "o200k": O200K}
STARTS, INSIDE = UPPER | CASELESS | MARK, LOWER | CASELESS | MARK  # o200k's words: capitals, then small letters
BLANK, NEWLINE, RETURN, SLASH, APOSTROPHE, LONG_S = 0x20, 0x0A, 0x0D, 0x2F, 0x27, 0x17F


@kernel
def run_end(kinds, codes, i, stop, mask):
    """End of the run of code points of some kinds."""
    while i < stop and kinds[codes[i]] & mask:
        i += 1
    return i


@kernel
def lower_ascii(code):
    return code + 32 if 65 <= code <= 90 else code


@kernel
def contraction(codes, i, stop, any_case):
    """End of 's 't 'm 'd 'll 've 're at i, or i; the long s is an s in any case."""
    if i + 1 >= stop or codes[i] != APOSTROPHE:
        return i
    a = int(codes[i + 1])
    b = int(codes[i + 2]) if i + 2 < stop else 0
    if any_case:
        a, b = lower_ascii(a), lower_ascii(b)
    if a == ord("s") or a == ord("t") or a == ord("m") or a == ord("d") or (any_case and a == LONG_S):
        return i + 2
    if (a == ord("l") and b == ord("l")) or (b == ord("e") and (a == ord("v") or a == ord("r"))):
        return i + 3
    return i


@kernel
def blanks_end(kinds, codes, i, stop, pattern):
    """End of a piece of white space: up to its last line end, or leaving one for the word after it."""
    end, line_end = i, i
    while end < stop and kinds[codes[end]] == SPACE:
        end += 1
        if codes[end - 1] == NEWLINE or codes[end - 1] == RETURN:
            line_end = end
    if end == stop and pattern == CL100K:
        return end
    if line_end > i and pattern != GPT2:
        return line_end
    return end if end == stop or end == i + 1 else end - 1


@kernel
def cased_word(kinds, codes, i, stop):
    """End of o200k's word at i: capitals* small+, or capitals+ small*; letters without case are both."""
    end = run_end(kinds, codes, i, stop, STARTS)
    if end < stop and kinds[codes[end]] & INSIDE:
        return run_end(kinds, codes, end, stop, INSIDE)
    back = end
    while back > i and not kinds[codes[back - 1]] & INSIDE:
        back -= 1
    return back if back > i else end


@kernel
def o200k_word(kinds, codes, i, stop):
    """End of o200k's word with the one code point that may precede it and the contraction that may follow, or i."""
    kind = kinds[codes[i]]
    lead = not kind & (LETTER | NUMBER) and codes[i] != NEWLINE and codes[i] != RETURN and i + 1 < stop
    # with small letters before without them, and then with the leading code point before without it
    start = i + 1 if lead else i
    end = cased_word(kinds, codes, start, stop)
    if lead and kind == MARK and not (end > start and kinds[codes[end - 1]] & INSIDE):
        start = i  # the mark is not a lead but begins the word, and is its small letter too
        end = cased_word(kinds, codes, start, stop)
    return contraction(codes, end, stop, True) if end > start else i


@kernel
def piece_end(pattern, kinds, codes, i, stop):
    """End of the piece at i < stop of a text that ends at `stop`."""
    code, kind = codes[i], kinds[codes[i]]
    if pattern == O200K:
        end = o200k_word(kinds, codes, i, stop)
        if end > i:
            return end
    elif code == APOSTROPHE:
        end = contraction(codes, i, stop, pattern != GPT2)
        if end > i:
            return end
    if pattern == GPT2:
        start = i + 1 if code == BLANK and i + 1 < stop and kinds[codes[i + 1]] != SPACE else i
        kind = kinds[codes[start]]
        if kind != SPACE:
            return run_end(kinds, codes, start, stop, LETTER if kind & LETTER else kind if kind == NUMBER else SYMBOL)
        return blanks_end(kinds, codes, i, stop, pattern)
    if kind & LETTER:
        return run_end(kinds, codes, i, stop, LETTER)
    if kind == NUMBER:
        return run_end(kinds, codes, i, min(i + 3, stop), NUMBER)
    after = kinds[codes[i + 1]] if i + 1 < stop else SPACE
    if pattern != O200K and after & LETTER and code != NEWLINE and code != RETURN:
        return run_end(kinds, codes, i + 1, stop, LETTER)
    if kind & SYMBOL or (code == BLANK and after & SYMBOL):
        end = run_end(kinds, codes, i + 1, stop, SYMBOL)
        while end < stop and (
            codes[end] == NEWLINE or codes[end] == RETURN or (pattern == O200K and codes[end] == SLASH)
        ):
            end += 1
        return end
    return blanks_end(kinds, codes, i, stop, pattern)
