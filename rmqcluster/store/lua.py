"""What all scripts share, in Lua: the keys, readings that survive what a stranger wrote, and questions.

A script gets the prefix, the node, the instance and the TTL first, then its own arguments. JSON written here has
the shape that `codec` reads.
"""

import hashlib
from dataclasses import dataclass

from rmqcluster.store.codec import NUMBER_LIMIT, VALUE_LIMIT_BYTES, VERSION
from rmqcluster.store.keys import OF_NODE, OWNER_TTLS, SHARED, Keys


def _key_names() -> str:
    """The keys as Lua variables and functions, made from `Keys` so that there is one list of names."""
    keys, mark = Keys("\0"), "\1"
    lines = [f"local {name}_key = prefix .. '{getattr(keys, name)[1:]}'" for name in SHARED]
    for name in OF_NODE:
        before, after = getattr(keys, name)(mark)[1:].split(mark)
        lines.append(f"local function {name}_key(of) return prefix .. '{before}' .. of .. '{after}' end")
    return "\n".join(lines)


_COMMON = f"""
local prefix, node, instance, ttl_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
{_key_names()}

local function ask(...)
  local found = redis.pcall(...)
  if type(found) ~= 'table' or not found.err then return found end
  if string.find(tostring(found.err), 'WRONGTYPE', 1, true) then return nil, 'holds another type of value' end
  return redis.call(...)  -- not the fault of the key: a missing permission must not read as an absent value
end

local function read(key)
  local value, problem = ask('GETRANGE', key, 0, {VALUE_LIMIT_BYTES})
  if not value then return nil, problem end
  if value == '' then return nil end
  if #value > {VALUE_LIMIT_BYTES} then return nil, 'is longer than {VALUE_LIMIT_BYTES} bytes' end
  return value
end

local function object(key)
  local value = read(key)
  if not value then return nil end
  local ok, found = pcall(cjson.decode, value)
  if ok and type(found) == 'table' then return found end
  return nil
end

local function number(value)
  local found = tonumber(value)
  if found and found >= 0 and found <= {NUMBER_LIMIT} then return found end
  return 0
end

local function is_mine(found)
  return found ~= nil and found.node == node and found.instance == instance
end

local function name_is_anothers()
  local owner = object(owner_key(node))
  return owner ~= nil and type(owner.instance) == 'string' and owner.instance ~= instance
end

local function now()
  local time = redis.call('TIME')
  return time[1], time[2]
end

local function unix_seconds()
  local seconds, micros = now()
  return tonumber(seconds) + tonumber(micros) / 1000000
end

local function roll_call_seconds()
  -- tonumber alone would take NaN, with which no comparison forbids anything.
  local began = string.match(read(roll_call_key) or '', '^%d+%.?%d*$')
  if not began or #began > 20 then return nil end
  return unix_seconds() - tonumber(began)
end

local function names(key)
  local found, problem = ask('SMEMBERS', key)
  if not found then return {{}}, problem end
  table.sort(found)
  return found
end

local IDENTITY = {{data = true, unmarked = true, amnesic = true}}
local DISPOSABLE = {{blank = true, uncommitted = true}}

local function announcements()
  local found = {{}}
  for _, name in ipairs((names(known_key))) do
    if redis.call('EXISTS', announcement_key(name)) == 1 then
      local one = object(announcement_key(name)) or {{}}
      one.name = name
      one.unclear = not (IDENTITY[one.disk] or DISPOSABLE[one.disk]) or type(one.epoch_high) ~= 'number'
        or number(one.epoch_high) ~= one.epoch_high
      table.insert(found, one)
    end
  end
  return found
end

local function holds_lease(epoch)
  local lease = object(lease_key)
  return is_mine(lease) and lease.epoch == epoch
end

local function next_epoch(floor)
  local high = math.max(number(read(epoch_key)), floor)
  for _, key in ipairs({{record_key, lease_key, founding_key}}) do
    local found = object(key)
    if found then high = math.max(high, number(found.epoch)) end
  end
  for _, one in ipairs(announcements()) do high = math.max(high, number(one.epoch_high)) end
  redis.call('SET', epoch_key, string.format('%.0f', high + 1))
  return high + 1
end

local function json(fields)
  local parts = {{'"v":{VERSION}'}}
  for _, field in ipairs(fields) do
    local value = field[2]
    if type(value) ~= 'number' then
      value = cjson.encode(value)
    else
      value = string.format(value == math.floor(value) and '%.0f' or '%.6f', value)
    end
    table.insert(parts, '"' .. field[1] .. '":' .. value)
  end
  return '{{' .. table.concat(parts, ',') .. '}}'
end

local function set_owner(sequence)
  local value = json({{{{'instance', instance}}, {{'sequence', sequence}}}})
  redis.call('SET', owner_key(node), value, 'PX', ttl_ms * {OWNER_TTLS})
end
"""


@dataclass(frozen=True, slots=True)
class Script:
    """One script and the digest under which Redis keeps it."""

    text: str
    digest: str


def script(body: str) -> Script:
    """`body` behind the common part."""
    text = _COMMON + body
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
