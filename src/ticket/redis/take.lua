-- KEYS: the ticket, and the way of a resume link of the same hash. ARGV: '1' and a subject, or '0' and nothing; the replica
-- that asks; how long a spent ticket is remembered, in milliseconds. Tells what became of it, and something about it.
local value = redis.call('GET', KEYS[1])
if not value then
  local way = redis.call('GET', KEYS[2])
  if way then return {'elsewhere', way} end
  return {'unknown', ''}
end
if value == 'gone' then return {'gone', ''} end
local run, expires, replica, purpose = string.match(value, '^(%x+) (%d+) (%x+) (.*)$')
local owner = cjson.decode(purpose).owner
if owner and (ARGV[1] ~= '1' or ARGV[2] ~= owner) then return {'unknown', ''} end
if run ~= run_id() then return {'restarted', ''} end
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) >= tonumber(expires) then return {'gone', ''} end
if replica ~= ARGV[3] then return {'elsewhere', replica} end
-- The only write. A server that is out of memory refuses SET, but not DEL: then it is spent without being remembered. One
-- that takes no writes at all refuses both, and the ticket is where it was.
if redis.pcall('SET', KEYS[1], 'gone', 'PX', ARGV[4]).err then redis.call('DEL', KEYS[1]) end
return {'taken', purpose}
