"""The atomic steps, as Lua for Redis. Each checks its condition and writes in one step, or answers 0.

Redis checks the commands inside a script one by one against the user's permissions. All times come from the
clock of Redis, so members with wrong clocks agree. Every script begins with the same helpers; ARGV[1] is the
prefix, ARGV[2] my node name, ARGV[3] my instance, ARGV[4] the TTL in milliseconds.
"""

PRELUDE = """
local p, me, instance, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local function key(name) return p .. ':' .. name end
local function node(name, what) return p .. ':node:' .. name .. ':' .. what end
local function text(name)
  local ok, value = pcall(redis.call, 'GET', name)
  if ok and type(value) == 'string' then return value end
  return nil
end
local function object(name)
  local value = text(name)
  if value == nil or #value > 65536 then return nil end
  local ok, found = pcall(cjson.decode, value)
  if ok and type(found) == 'table' then return found end
  return nil
end
local function exists(name) return redis.call('EXISTS', name) == 1 end
local function held_by_me(name)
  local found = object(name)
  return found ~= nil and found.node == me and found.instance == instance
end
local function name_is_anothers()
  local owner = object(node(me, 'owner'))
  return owner ~= nil and owner.instance ~= instance
end
local function number(value) return tonumber(value) or 0 end
local function announcements()
  local found = {}
  for _, name in ipairs(redis.call('SMEMBERS', key('cluster:known'))) do
    local a = object(node(name, 'announcement'))
    if a ~= nil then found[name] = a end
  end
  return found
end
local function has_identity(a) return a.disk == 'data' or a.disk == 'unmarked' or a.disk == 'amnesic' end
local function seconds()
  local now = redis.call('TIME')
  return now[1] .. '.' .. string.format('%06d', now[2])
end
local function next_epoch(floor)
  local high = math.max(floor, number(text(key('cluster:epoch'))))
  for _, name in ipairs({'cluster:record', 'cluster:founding', 'monitor:lease'}) do
    local found = object(key(name))
    if found ~= nil then high = math.max(high, number(found.epoch)) end
  end
  for _, a in pairs(announcements()) do high = math.max(high, number(a.epoch_high)) end
  redis.call('SET', key('cluster:epoch'), string.format('%.0f', high + 1))
  return high + 1
end
local function my_lease(epoch)
  local lease = object(key('monitor:lease'))
  return lease ~= nil and lease.node == me and lease.instance == instance and number(lease.epoch) == tonumber(epoch)
end
local function has_heartbeat(name) return exists(node(name, 'heartbeat')) end
"""

# ARGV 5 announcement, 6 owner, 7 owner TTL ms, 8 registered, 9 keep lease, 10 keep claim
BEAT = """
if name_is_anothers() then return 0 end
local known = key('cluster:known')
local anybody = false
for _, name in ipairs(redis.call('SMEMBERS', known)) do
  if exists(node(name, 'announcement')) then anybody = true
  elseif not exists(node(name, 'owner')) and redis.call('SISMEMBER', key('cluster:members'), name) == 0 then
    redis.call('SREM', known, name)
  end
end
if not anybody or not exists(key('cluster:roll_call')) then
  redis.call('SET', key('cluster:roll_call'), seconds())
end
redis.call('SADD', known, me)
redis.call('SET', node(me, 'announcement'), ARGV[5], 'PX', ttl)
redis.call('SET', node(me, 'owner'), ARGV[6], 'PX', tonumber(ARGV[7]))
if ARGV[8] == '1' then
  redis.call('SADD', key('cluster:members'), me)
  redis.call('SET', node(me, 'heartbeat'), seconds(), 'PX', ttl)
end
if ARGV[9] == '1' and held_by_me(key('monitor:lease')) then redis.call('PEXPIRE', key('monitor:lease'), ttl) end
if ARGV[10] == '1' and held_by_me(key('cluster:founding')) then redis.call('PEXPIRE', key('cluster:founding'), ttl) end
return 1
"""

# ARGV 5 cluster id, 6 majority
CLAIM_FOUNDING = """
if exists(key('cluster:record')) or exists(key('cluster:founding')) then return 0 end
local blank, mine = 0, false
for name, a in pairs(announcements()) do
  if has_identity(a) then return 0 end
  if a.disk == 'blank' or a.disk == 'uncommitted' then blank = blank + 1 end
  if name == me and a.instance == instance then mine = true end
end
if not mine or blank < tonumber(ARGV[6]) then return 0 end
local epoch = next_epoch(0)
local claim = {v = 1, cluster_id = ARGV[5], node = me, instance = instance, epoch = epoch}
redis.call('SET', key('cluster:founding'), cjson.encode(claim), 'PX', ttl)
return 1
"""

ABANDON_CLAIM = """
if not held_by_me(key('cluster:founding')) then return 0 end
redis.call('DEL', key('cluster:founding'))
return 1
"""

# ARGV 5 cluster id, 6 how old the roll call must be, seconds
COMMIT_FOUNDING = """
local claim = object(key('cluster:founding'))
if not held_by_me(key('cluster:founding')) or claim.cluster_id ~= ARGV[5] then return 0 end
if exists(key('cluster:record')) then return 0 end
for _, a in pairs(announcements()) do
  if has_identity(a) and a.cluster_id ~= ARGV[5] then return 0 end
end
local began = text(key('cluster:roll_call'))
if began == nil or number(seconds()) - number(began) <= tonumber(ARGV[6]) then return 0 end
local record = {v = 1, cluster_id = ARGV[5], epoch = claim.epoch, founder = me}
redis.call('SET', key('cluster:record'), cjson.encode(record))
redis.call('DEL', key('cluster:founding'))
return 1
"""

# ARGV 5 cluster id, 6 epoch, 7 what was read ('' for nothing)
RESTORE_RECORD = """
local stored = object(key('cluster:record'))
local id = stored ~= nil and stored.cluster_id or ''
if id ~= ARGV[7] then return 0 end
local founder = (stored ~= nil and id == ARGV[5]) and stored.founder or ''
local record = {v = 1, cluster_id = ARGV[5], epoch = tonumber(ARGV[6]), founder = founder}
redis.call('SET', key('cluster:record'), cjson.encode(record))
redis.call('DEL', key('cluster:founding'))
if number(text(key('cluster:epoch'))) < tonumber(ARGV[6]) then
  redis.call('SET', key('cluster:epoch'), ARGV[6])
end
return 1
"""

# ARGV 5 the instance that was read ('' for none), 6 my owner record, 7 owner TTL ms
TAKE_OWNERSHIP = """
local owner = object(node(me, 'owner'))
if (owner ~= nil and owner.instance or '') ~= ARGV[5] then return 0 end
redis.call('SET', node(me, 'owner'), ARGV[6], 'PX', tonumber(ARGV[7]))
return 1
"""

# ARGV 5 floor
TAKE_LEASE = """
if exists(key('monitor:lease')) or name_is_anothers() then return 0 end
local lease = {v = 1, node = me, instance = instance, epoch = next_epoch(tonumber(ARGV[5]))}
redis.call('SET', key('monitor:lease'), cjson.encode(lease), 'PX', ttl)
return 1
"""

RELEASE_LEASE = """
if not held_by_me(key('monitor:lease')) then return 0 end
redis.call('DEL', key('monitor:lease'))
return 1
"""

# ARGV 5 node, 6 epoch
REMOVE_MEMBER = """
if not my_lease(ARGV[6]) or has_heartbeat(ARGV[5]) then return 0 end
redis.call('SREM', key('cluster:members'), ARGV[5])
return 1
"""

# ARGV 5 node, 6 epoch, 7 what was read ('' for nobody)
SET_MASTER = """
if not my_lease(ARGV[6]) or (text(key('cluster:master')) or '') ~= ARGV[7] then return 0 end
if redis.call('SISMEMBER', key('cluster:members'), ARGV[5]) == 0 or not has_heartbeat(ARGV[5]) then return 0 end
redis.call('SET', key('cluster:master'), ARGV[5])
return 1
"""

# ARGV 5 node
OFFER_FOUNDER = """
if not held_by_me(key('cluster:founding')) or exists(key('cluster:record')) then return 0 end
redis.call('SET', key('cluster:master'), ARGV[5])
return 1
"""

# ARGV 5 final
LEAVE = """
if held_by_me(key('monitor:lease')) then redis.call('DEL', key('monitor:lease')) end
if held_by_me(key('cluster:founding')) then redis.call('DEL', key('cluster:founding')) end
if name_is_anothers() then return 0 end
redis.call('SREM', key('cluster:members'), me)
redis.call('DEL', node(me, 'heartbeat'))
if text(key('cluster:master')) == me then redis.call('DEL', key('cluster:master')) end
if ARGV[5] == '1' then
  redis.call('DEL', node(me, 'announcement'), node(me, 'owner'))
  redis.call('SREM', key('cluster:known'), me)
end
return 1
"""

CLEAR = """
for _, name in ipairs(redis.call('SMEMBERS', key('cluster:members'))) do redis.call('DEL', node(name, 'heartbeat')) end
for _, name in ipairs(redis.call('SMEMBERS', key('cluster:known'))) do redis.call('DEL', node(name, 'heartbeat')) end
redis.call('DEL', key('cluster:members'), key('cluster:master'), key('monitor:lease'))
return 1
"""

# ARGV 5 cluster id; answers the names that stand in the way
CLEAR_IDENTITY = """
local record = object(key('cluster:record'))
if record == nil or record.cluster_id ~= ARGV[5] then return {'record'} end
local obstacles = redis.call('SMEMBERS', key('cluster:members'))
for name, a in pairs(announcements()) do
  if has_identity(a) or has_heartbeat(name) then table.insert(obstacles, name) end
end
if #obstacles > 0 then return obstacles end
redis.call('DEL', key('cluster:record'), key('cluster:founding'), key('cluster:roll_call'))
return {}
"""
