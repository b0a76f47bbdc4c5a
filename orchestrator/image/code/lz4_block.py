"""LZ4 blocks: how nvcc 12 and `--compress-mode=speed` pack device code."""

from __future__ import annotations

from orchestrator.image.code.elf import DamagedFileError


def unpack_lz4(stored: bytes, size: int) -> bytes:
    """One LZ4 block (no frame around it), as nvcc 12 and `--compress-mode=speed` write it.

    Args:
        stored: The block, without the padding behind it.
        size: Bytes that it unpacks to.

    Raises:
        DamagedFileError: The block contradicts itself.
    """
    try:
        from lz4 import block
    except ImportError:  # no wheel for this platform: 70 times as slow
        return unpack_lz4_slowly(stored, size)
    try:
        whole: bytes = block.decompress(stored, uncompressed_size=size)
    except (block.LZ4BlockError, ValueError, OverflowError) as error:
        raise DamagedFileError(f"LZ4 image: {error}") from error
    return whole


def unpack_lz4_slowly(stored: bytes, size: int) -> bytes:
    """As `unpack_lz4`, in Python; zero padding may follow the block.

    Raises:
        DamagedFileError: The block is invalid or cut off.
    """
    try:
        return bytes(_sequences(stored, size))
    except IndexError as error:
        raise DamagedFileError("LZ4 image is cut off") from error


def _sequences(block: bytes, size: int) -> bytearray:
    """The loop of `unpack_lz4_slowly`, in one piece: calls would cost more than the work (some cubins have 65 MB)."""
    out = bytearray()
    at = done = 0
    end = len(block)
    while done < size:
        token = block[at]
        at += 1
        count = token >> 4
        if count:
            if count == 15:
                while (more := block[at]) == 255:
                    count += 255
                    at += 1
                count += more
                at += 1
            if at + count > end:
                raise DamagedFileError("LZ4 image is cut off")
            out += block[at : at + count]
            at += count
            done += count
            if done >= size:
                break
        distance = block[at] | block[at + 1] << 8
        at += 2
        count = (token & 15) + 4
        if count == 19:
            while (more := block[at]) == 255:
                count += 255
                at += 1
            count += more
            at += 1
        if not 0 < distance <= done:
            raise DamagedFileError("LZ4 image refers to bytes before its start")
        if count > size - done:
            count = size + 1 - done  # one byte too many tells the caller, and more is not worth making
        start = done - distance
        if distance >= count:
            out += out[start : start + count]
        else:  # the copy overlaps itself: a short pattern, repeated
            out += (out[start:] * (count // distance + 1))[:count]
        done += count
    return out
