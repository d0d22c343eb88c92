"""The guarded writes as one-key Lua scripts: each touches only KEYS[1], so each works in cluster mode."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["SCRIPTS", "Command", "compare_and_set", "grow_buckets", "set_pointer"]

Command = tuple[Any, ...]
"""``(NAME, key, *arguments)`` of a command that touches that key alone, or a call of one of these scripts."""

_COMPARE_AND_SET: Final = """
    -- ARGV: the bytes the value must begin with ('' = the key must be absent), the new value, its TTL in seconds
    if ARGV[1] == '' then
        if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
    elseif redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then
        return 0
    end
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
    return 1
    """

_GROW_BUCKETS: Final = """
    -- ARGV: TTL in seconds, oldest field to keep, then field, values (comma-separated), field, values …
    -- A bucket's sums only grow, so the larger of two values is the newer one: a replay changes nothing.
    local born = false
    for i = 3, #ARGV, 2 do
        local value = ARGV[i + 1]
        local known = redis.call('HGET', KEYS[1], ARGV[i])
        if known and known ~= value then
            local larger, other = {}, string.gmatch(known, '[^,]+')
            for part in string.gmatch(value, '[^,]+') do
                local old = other()
                if old and old ~= part and tonumber(old) > tonumber(part) then part = old end
                larger[#larger + 1] = part
            end
            value = table.concat(larger, ',')
        end
        if known ~= value then redis.call('HSET', KEYS[1], ARGV[i], value) end
        born = born or not known
    end
    -- A bucket is open for minutes and the time to live is a day and more, so it is set with each new bucket only.
    if born then
        redis.call('EXPIRE', KEYS[1], ARGV[1])
        if redis.call('HLEN', KEYS[1]) > 320 then
            for _, start in ipairs(redis.call('HKEYS', KEYS[1])) do
                if tonumber(start) < tonumber(ARGV[2]) then redis.call('HDEL', KEYS[1], start) end
            end
        end
    end
    return 1
    """

_SET_POINTER: Final = """
    -- ARGV: the pointer's revision, the pointer. A writer that was held up never replaces a newer one.
    local known = redis.call('GET', KEYS[1])
    local rev = known and string.match(known, '"rev":"(%x*)"')
    if rev and rev > ARGV[1] then return 0 end
    redis.call('SET', KEYS[1], ARGV[2])
    return 1
    """


def _sha(text: str) -> str:
    """The name under which a server caches a script (EVALSHA)."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


SCRIPTS: Final = {_sha(text): text for text in (_COMPARE_AND_SET, _GROW_BUCKETS, _SET_POINTER)}
_COMPARE_AND_SET_SHA, _GROW_BUCKETS_SHA, _SET_POINTER_SHA = SCRIPTS


def compare_and_set(key: str, head: bytes, value: bytes, ttl_s: int) -> Command:
    """Replace a value if it still begins with ``head`` (``b""``: if there is none); answers 1 or 0.

    The head of a user value is its revision: the first :data:`contracts.lists.REV_BYTES` bytes.
    """
    return ("EVALSHA", _COMPARE_AND_SET_SHA, 1, key, head, value, ttl_s)


def grow_buckets(key: str, buckets: Mapping[int, Sequence[float]], ttl_s: int, oldest_s: int) -> Command:
    """Write absolute bucket sums (bucket start in epoch seconds → values), keeping the larger of stored and new.

    Buckets that start before ``oldest_s`` may be dropped once a key holds more than a day of them.
    """
    fields = [part for start, values in buckets.items() for part in (start, _text(values))]
    return ("EVALSHA", _GROW_BUCKETS_SHA, 1, key, ttl_s, oldest_s, *fields)


def _text(values: Sequence[float]) -> str:
    """Numbers with commas between, each as the shortest text that reads back as it.

    >>> _text([3.0, 0.1, 7, 10.05, 1e22, 20.0])
    '3,0.1,7,10.05,1e+22,20'
    """
    return ",".join([*map(repr, values), ""]).replace(".0,", ",")[:-1]


def set_pointer(key: str, rev: str, value: bytes) -> Command:
    """Set a pointer that holds its own ``rev``, unless the stored one has a larger; answers 1 or 0. No TTL."""
    return ("EVALSHA", _SET_POINTER_SHA, 1, key, rev, value)
