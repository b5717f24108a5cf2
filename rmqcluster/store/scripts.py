"""The atomic steps, in Lua. Each script checks its condition and writes in the same step, on Redis's own clock.

A script gets the prefix, the node, the instance and the TTL first, then its own arguments; it answers 1 when its
condition held and 0 when not, or data. What a script cannot read counts as what forbids the act: an announcement
that is not understood may be a disk with data. JSON written here has the shape that `codec` reads.
"""

import hashlib
from dataclasses import dataclass

from rmqcluster.store.codec import NAMES_LIMIT, NUMBER_LIMIT, VALUE_LIMIT_BYTES, VERSION
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

local function roll_call_seconds()
  -- tonumber alone would take NaN, with which no comparison forbids anything.
  local began = string.match(read(roll_call_key) or '', '^%d+%.?%d*$')
  if not began or #began > 20 then return nil end
  local seconds, micros = now()
  return tonumber(seconds) + tonumber(micros) / 1000000 - tonumber(began)
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
    value = type(value) == 'number' and string.format('%.0f', value) or cjson.encode(value)
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


def _script(body: str) -> Script:
    text = _COMMON + body
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


BEAT = _script("""
if name_is_anothers() then return 0 end
local announcement, sequence = ARGV[5], tonumber(ARGV[6])
local registered, keep_lease, keep_claim = ARGV[7] == '1', ARGV[8] == '1', ARGV[9] == '1'
local somebody = false
for _, name in ipairs((names(known_key))) do
  if redis.call('EXISTS', announcement_key(name)) == 1 then
    somebody = true
  elseif redis.call('EXISTS', owner_key(name), heartbeat_key(name)) == 0 then
    if redis.call('SISMEMBER', members_key, name) == 0 then redis.call('SREM', known_key, name) end
  end
end
redis.call('SADD', known_key, node)
local seconds, micros = now()
local age = roll_call_seconds()
if not somebody or not age or age < 0 then
  redis.call('SET', roll_call_key, seconds .. '.' .. string.format('%06d', micros))
end
redis.call('SET', announcement_key(node), announcement, 'PX', ttl_ms)
set_owner(sequence)
if registered then
  redis.call('SADD', members_key, node)
  redis.call('SET', heartbeat_key(node), seconds, 'PX', ttl_ms)
end
if keep_lease and is_mine(object(lease_key)) then redis.call('PEXPIRE', lease_key, ttl_ms) end
if keep_claim and is_mine(object(founding_key)) then redis.call('PEXPIRE', founding_key, ttl_ms) end
return 1
""")

SNAPSHOT = _script(f"""
local problems = {{}}
local function note(key, problem)
  if problem then table.insert(problems, key .. ' ' .. problem) end
end
local function value(key)
  local found, problem = read(key)
  note(key, problem)
  return found or false
end
local function set(key)
  local found, problem = names(key)
  note(key, problem)
  if #found > {NAMES_LIMIT} then
    note(key, 'holds ' .. #found .. ' names; only {NAMES_LIMIT} are looked at')
    for i = #found, {NAMES_LIMIT} + 1, -1 do found[i] = nil end
  end
  return found
end
local members, known = set(members_key), set(known_key)
local seen, nodes = {{}}, {{}}
for _, list in ipairs({{members, known}}) do
  for _, name in ipairs(list) do
    if not seen[name] then
      seen[name] = true
      table.insert(nodes, {{name, value(announcement_key(name)), redis.call('PTTL', heartbeat_key(name))}})
    end
  end
end
local age = roll_call_seconds()
if value(roll_call_key) and not age then note(roll_call_key, 'is not a time') end
return {{members, nodes, value(master_key), value(record_key), value(founding_key),
  redis.call('PTTL', founding_key), value(lease_key), redis.call('PTTL', lease_key), value(owner_key(node)),
  value(epoch_key), string.format('%.3f', age or 0), value(paused_key), problems}}
""")

CLAIM_FOUNDING = _script("""
local cluster_id, majority = ARGV[5], tonumber(ARGV[6])
if redis.call('EXISTS', record_key, founding_key) ~= 0 then return 0 end
local company, mine = 0, false
for _, one in ipairs(announcements()) do
  if one.unclear or IDENTITY[one.disk] then return 0 end
  company = company + 1
  if one.name == node and one.instance == instance then mine = true end
end
if not mine or company < majority then return 0 end
local value = json({{'cluster_id', cluster_id}, {'node', node}, {'instance', instance}, {'epoch', next_epoch(0)}})
redis.call('SET', founding_key, value, 'PX', ttl_ms)
return 1
""")

ABANDON_CLAIM = _script("""
if not is_mine(object(founding_key)) then return 0 end
return redis.call('DEL', founding_key)
""")

COMMIT_FOUNDING = _script("""
local cluster_id, quiet_seconds = ARGV[5], tonumber(ARGV[6])
local claim = object(founding_key)
if not is_mine(claim) or claim.cluster_id ~= cluster_id or redis.call('EXISTS', record_key) ~= 0 then return 0 end
for _, one in ipairs(announcements()) do
  if one.unclear or IDENTITY[one.disk] and one.cluster_id ~= cluster_id then return 0 end
end
local age = roll_call_seconds()
if not age or age <= quiet_seconds then return 0 end
redis.call('SET', record_key, json({{'cluster_id', cluster_id}, {'epoch', number(claim.epoch)}, {'founder', node}}))
redis.call('DEL', founding_key)
return 1
""")

RESTORE_RECORD = _script("""
local cluster_id, epoch, replaces = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local found = object(record_key)
local stored = found and type(found.cluster_id) == 'string' and found.cluster_id or ''
if stored ~= replaces then return 0 end
local founder = ''
if stored == cluster_id and type(found.founder) == 'string' then founder = found.founder end
redis.call('SET', record_key, json({{'cluster_id', cluster_id}, {'epoch', epoch}, {'founder', founder}}))
if number(read(epoch_key)) < epoch then redis.call('SET', epoch_key, string.format('%.0f', epoch)) end
redis.call('DEL', founding_key)
return 1
""")

TAKE_OWNERSHIP = _script("""
local owner = object(owner_key(node))
local stored = owner and type(owner.instance) == 'string' and owner.instance or ''
if stored ~= ARGV[5] then return 0 end
set_owner(0)
return 1
""")

TAKE_LEASE = _script("""
if redis.call('EXISTS', lease_key) ~= 0 or name_is_anothers() then return 0 end
local value = json({{'node', node}, {'instance', instance}, {'epoch', next_epoch(tonumber(ARGV[5]))}})
redis.call('SET', lease_key, value, 'PX', ttl_ms)
return 1
""")

RELEASE_LEASE = _script("""
if not is_mine(object(lease_key)) then return 0 end
return redis.call('DEL', lease_key)
""")

REMOVE_MEMBER = _script("""
local subject, epoch = ARGV[5], tonumber(ARGV[6])
local lease = object(lease_key)
if not is_mine(lease) or lease.epoch ~= epoch then return 0 end
if redis.call('EXISTS', heartbeat_key(subject)) ~= 0 then return 0 end
redis.call('SREM', members_key, subject)
return 1
""")

SET_MASTER = _script("""
local subject, epoch, replaces = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local lease = object(lease_key)
if not is_mine(lease) or lease.epoch ~= epoch or (read(master_key) or '') ~= replaces then return 0 end
if redis.call('EXISTS', heartbeat_key(subject)) == 0 then return 0 end
if redis.call('SISMEMBER', members_key, subject) == 0 then return 0 end
redis.call('SET', master_key, subject)
return 1
""")

OFFER_FOUNDER = _script("""
if not is_mine(object(founding_key)) or redis.call('EXISTS', record_key) ~= 0 then return 0 end
redis.call('SET', master_key, ARGV[5])
return 1
""")

LEAVE = _script("""
if is_mine(object(lease_key)) then redis.call('DEL', lease_key) end
if is_mine(object(founding_key)) then redis.call('DEL', founding_key) end
if name_is_anothers() then return 0 end
redis.call('DEL', heartbeat_key(node))
redis.call('SREM', members_key, node)
if read(master_key) == node then redis.call('DEL', master_key) end
if ARGV[5] == '1' then
  redis.call('DEL', announcement_key(node), owner_key(node))
  redis.call('SREM', known_key, node)
end
return 1
""")

READ_LEASE = _script("return read(lease_key) or false")

CLEAR = _script("""
for _, key in ipairs({members_key, known_key}) do
  for _, name in ipairs((names(key))) do redis.call('DEL', heartbeat_key(name)) end
end
redis.call('DEL', members_key, master_key, lease_key)
return 1
""")

CLEAR_IDENTITY = _script("""
local record = object(record_key)
if not record or record.cluster_id ~= ARGV[5] then return {'record'} end
local obstacles, seen = {}, {}
local function add(name)
  if not seen[name] then
    seen[name] = true
    table.insert(obstacles, name)
  end
end
for _, name in ipairs((names(members_key))) do add(name) end
for _, name in ipairs((names(known_key))) do
  if redis.call('EXISTS', heartbeat_key(name)) == 1 then add(name) end
end
for _, one in ipairs(announcements()) do
  if one.unclear or IDENTITY[one.disk] then add(one.name) end
end
if #obstacles == 0 then redis.call('DEL', record_key, founding_key, roll_call_key) end
table.sort(obstacles)
return obstacles
""")
