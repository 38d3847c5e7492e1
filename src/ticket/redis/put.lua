-- KEYS: the ticket. ARGV: how long it lives and how long it is remembered after that, in milliseconds; the replica that owns
-- its session; what it is good for, as JSON. Tells whether it was kept.
local time = redis.call('TIME')
local expires = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local value = string.format('%s %d %s %s', run_id(), expires, ARGV[3], ARGV[4])
return redis.call('SET', KEYS[1], value, 'NX', 'PX', ARGV[1] + ARGV[2]) and 1 or 0
