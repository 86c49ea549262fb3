-- heartbeat: renews a worker's lease and tells it what Redis knows.
-- Includes: now, session, marked
-- KEYS[1] inflight
-- KEYS[2] workers
-- KEYS[3] cancels
-- KEYS[4] token
-- ARGV[1] worker
-- ARGV[2] lease in ms
-- ARGV[3] the most expired workers to report, of either kind
-- Returns {now, counter, deadline, {id, token, …} of what the worker holds, {id, …} of those that are canceled, {worker,
--   deadline, …} of workers whose lease ran out; 0 is the deadline of those being taken over}. So did a lease, it seems,
--   that lasts longer than any that is renewed: Redis's clock has stepped back since. Of the first three, now is Redis's
--   clock in ms, counter the fencing counter as it stands, '0' when there is none, and deadline when the worker's lease
--   would have run out. {now, counter, deadline} alone say that the session is over: 0 once it is fenced, '' when the
--   worker is not known.
local inflight = KEYS[1]
local workers = KEYS[2]
local cancels = KEYS[3]
local token = KEYS[4]

redis.call('HDEL', inflight, '')
local now = now_ms()
local counter = redis.pcall('GET', token) or '0'
if type(counter) == 'table' then
  counter = '' -- garbage, which is no reason to let the lease run out
end
local before = redis.call('ZSCORE', workers, ARGV[1])
if not registered(workers, ARGV[1]) then
  return {now, counter, before or ''}
end
redis.call('ZADD', workers, 'XX', string.format('%.0f', now + ARGV[2]), ARGV[1])

local held = redis.call('HGETALL', inflight)
local canceled = {}
if #held > 0 and redis.call('EXISTS', cancels) == 1 then
  canceled = marked(held, cancels)
end
local expired = redis.call('ZRANGEBYSCORE', workers, '-inf', '(' .. string.format('%.0f', now), 'WITHSCORES', 'LIMIT', 0,
  ARGV[3])
local latest = string.format('%.0f', now + 2 * ARGV[2] + 3600000) -- others may have longer leases, but not that long
for _, value in ipairs(redis.call('ZRANGEBYSCORE', workers, '(' .. latest, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])) do
  expired[#expired + 1] = value
end
return {now, counter, before, held, canceled, expired}
