-- retire: ends a worker's session, by itself or by another worker once its lease ran out. It fences the worker first,
-- then gives what it held back to the head of the queue in claim order, and removes it when nothing is left. One call
-- moves a part: it is repeated until nothing is left, by anybody.
-- Includes: wake, history, whole, head
-- KEYS[1] pending
-- KEYS[2] suspects
-- KEYS[3] history
-- KEYS[4] inflight
-- KEYS[5] workers
-- KEYS[6] wake
-- KEYS[7] info
-- ARGV[1] worker
-- ARGV[2] deadline that its lease must still have, unless the worker is fenced; '' for a worker's own call
-- ARGV[3] 1 when each job counts a crash, else 0
-- ARGV[4] crashes at which a job is a suspect
-- ARGV[5] the most jobs to move
-- Returns {moved, left}; 'alive' when the lease has another deadline; 'gone' when there is no such worker.
local pending = KEYS[1]
local suspects = KEYS[2]
local history = KEYS[3]
local inflight = KEYS[4]
local workers = KEYS[5]
local wake = KEYS[6]
local info = KEYS[7]

redis.call('HDEL', inflight, '')
redis.call('LLEN', pending)
redis.call('LLEN', suspects)
redis.call('HLEN', history)
redis.call('LLEN', wake)

local deadline = redis.call('ZSCORE', workers, ARGV[1])
if not deadline then
  return 'gone'
end
if ARGV[2] ~= '' and tonumber(deadline) ~= 0 and tonumber(deadline) ~= tonumber(ARGV[2]) then
  return 'alive'
end
redis.call('ZADD', workers, 'XX', 0, ARGV[1])

local entries = redis.call('HGETALL', inflight)
local held = {}
for i = 1, #entries, 2 do
  held[#held + 1] = {id = entries[i], token = whole(entries[i + 1])} -- garbage is a token, too: 0
end
-- The latest claims go first, so that the first one ends at the very head.
table.sort(held, function(a, b) return a.token > b.token end)
local ids = {}
for i = 1, math.min(#held, tonumber(ARGV[5])) do
  ids[i] = held[i].id
end
if #ids > 0 then
  put_back(pending, suspects, history, ids, tonumber(ARGV[3]), tonumber(ARGV[4]))
  redis.call('HDEL', inflight, unpack(ids))
  set_wake(wake)
end
if #ids == #held then
  redis.call('ZREM', workers, ARGV[1])
  redis.pcall('HDEL', info, ARGV[1])
end
return {#ids, #held - #ids}
