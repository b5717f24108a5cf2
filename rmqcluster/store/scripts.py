"""The atomic steps, in Lua. Each script checks its condition and writes in the same step, on Redis's own clock.

A script answers 1 when its condition held and 0 when not, or data. What a script cannot read counts as what forbids
the act: an announcement that is not understood may be a disk with data. `lua` has what they share.
"""

from rmqcluster.store.codec import NAMES_LIMIT
from rmqcluster.store.keys import EMPTIED_TTLS
from rmqcluster.store.lua import script

BEAT = script(f"""
if name_is_anothers() then return 0 end
local announcement, sequence = ARGV[5], tonumber(ARGV[6])
local registered, keep_lease, keep_claim = ARGV[7] == '1', ARGV[8] == '1', ARGV[9] == '1'
local operation, began_at, left_ms = ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12])
if keep_lease and is_mine(object(lease_key)) then redis.call('PEXPIRE', lease_key, ttl_ms) end
if announcement == '' then return 1 end
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
if keep_claim and is_mine(object(founding_key)) then redis.call('PEXPIRE', founding_key, ttl_ms) end
-- A roll call that is younger than the operation is the sign that Redis was emptied under it. In any other Redis a
-- record that is not there has ended, and stays so.
age = roll_call_seconds()
if operation ~= '' and left_ms > 0 and age < {EMPTIED_TTLS} * ttl_ms / 1000 and unix_seconds() - age > began_at then
  redis.call('SET', operation_key, operation, 'NX', 'PX', left_ms)
end
return 1
""")

SNAPSHOT = script(f"""
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
  value(epoch_key), string.format('%.3f', age or 0), value(paused_key), value(operation_key),
  redis.call('PTTL', operation_key), problems}}
""")

CLAIM_FOUNDING = script("""
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

ABANDON_CLAIM = script("""
if not is_mine(object(founding_key)) then return 0 end
return redis.call('DEL', founding_key)
""")

COMMIT_FOUNDING = script("""
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

RESTORE_RECORD = script("""
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

TAKE_OWNERSHIP = script("""
local owner = object(owner_key(node))
local stored = owner and type(owner.instance) == 'string' and owner.instance or ''
if stored ~= ARGV[5] then return 0 end
set_owner(0)
return 1
""")

TAKE_LEASE = script("""
if redis.call('EXISTS', lease_key) ~= 0 or name_is_anothers() then return 0 end
local value = json({{'node', node}, {'instance', instance}, {'epoch', next_epoch(tonumber(ARGV[5]))}})
redis.call('SET', lease_key, value, 'PX', ttl_ms)
return 1
""")

RELEASE_LEASE = script("""
if not is_mine(object(lease_key)) then return 0 end
return redis.call('DEL', lease_key)
""")

REMOVE_MEMBER = script("""
local subject, epoch = ARGV[5], tonumber(ARGV[6])
if not holds_lease(epoch) or redis.call('EXISTS', heartbeat_key(subject)) ~= 0 then return 0 end
redis.call('SREM', members_key, subject)
return 1
""")

FORGET_NAME = script("""
local subject, epoch = ARGV[5], tonumber(ARGV[6])
if not holds_lease(epoch) or redis.call('EXISTS', heartbeat_key(subject)) ~= 0 then return 0 end
redis.call('SREM', members_key, subject)
redis.call('SREM', known_key, subject)
redis.call('DEL', announcement_key(subject), owner_key(subject))
if read(master_key) == subject then redis.call('DEL', master_key) end
return 1
""")

SET_MASTER = script("""
local subject, epoch, replaces = ARGV[5], tonumber(ARGV[6]), ARGV[7]
if not holds_lease(epoch) or (read(master_key) or '') ~= replaces then return 0 end
if redis.call('EXISTS', heartbeat_key(subject)) == 0 then return 0 end
if redis.call('SISMEMBER', members_key, subject) == 0 then return 0 end
redis.call('SET', master_key, subject)
return 1
""")

START_OPERATION = script("""
local id, kind, subject, executor, by = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local epoch, seconds, consent, target, why = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12], ARGV[13], ARGV[14]
if epoch > 0 and not holds_lease(epoch) then return 0 end
if redis.call('EXISTS', operation_key) ~= 0 then return 0 end
local fields = {{'id', id}, {'kind', kind}, {'subject', subject}, {'executor', executor}, {'by', by},
  {'epoch', epoch > 0 and epoch or number(read(epoch_key))}, {'since', unix_seconds()}, {'seconds', seconds},
  {'consent', consent == '1'}, {'why', why}}
if target ~= '' then table.insert(fields, {'target', target}) end
redis.call('SET', operation_key, json(fields), 'PX', math.max(1, math.floor(seconds * 1000)))
return 1
""")

CLAIM_OPERATION = script("""
local id, epoch = ARGV[5], tonumber(ARGV[6])
local found = object(operation_key)
if not found or found.id ~= id or (found.executor ~= '' and found.executor ~= node) then return 0 end
if epoch > 0 and not holds_lease(epoch) then return 0 end
found.executor = node
redis.call('SET', operation_key, cjson.encode(found), 'PX', math.max(1, math.floor(number(found.seconds) * 1000)))
return 1
""")

READY_OPERATION = script("""
local found, left = object(operation_key), redis.call('PTTL', operation_key)
if not found or found.id ~= ARGV[5] or left <= 0 then return 0 end
found.ready = true
redis.call('SET', operation_key, cjson.encode(found), 'PX', left)
return 1
""")

END_OPERATION = script("""
local found = object(operation_key)
if not found or found.id ~= ARGV[5] then return 0 end
return redis.call('DEL', operation_key)
""")

READ_OPERATION = script("return read(operation_key) or false")

OFFER_FOUNDER = script("""
if not is_mine(object(founding_key)) or redis.call('EXISTS', record_key) ~= 0 then return 0 end
redis.call('SET', master_key, ARGV[5])
return 1
""")

LEAVE = script("""
if is_mine(object(lease_key)) then redis.call('DEL', lease_key) end
if is_mine(object(founding_key)) then redis.call('DEL', founding_key) end
if name_is_anothers() then return 0 end
redis.call('DEL', heartbeat_key(node))
redis.call('SREM', members_key, node)
if read(master_key) == node then redis.call('DEL', master_key) end
if ARGV[5] == '1' then
  redis.call('DEL', announcement_key(node), owner_key(node))
  redis.call('SREM', known_key, node)
  local operation = object(operation_key)
  if operation and operation.kind == 'stop' and operation.subject == node then redis.call('DEL', operation_key) end
end
return 1
""")

READ_LEASE = script("return read(lease_key) or false")

CLEAR = script("""
for _, key in ipairs({members_key, known_key}) do
  for _, name in ipairs((names(key))) do redis.call('DEL', heartbeat_key(name)) end
end
redis.call('DEL', members_key, master_key, lease_key)
return 1
""")

CLEAR_IDENTITY = script("""
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
