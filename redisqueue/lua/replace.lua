-- replace: makes a waiting job another one that has the same id and unique key, if it is still the one that was read. A job
-- that waited in a list and is due later now leaves its entry there, which no longer counts.
-- Of one that is held and has its key until it starts, only the key is freed.
-- Includes: now, due, wake, schedule, history, whole, discount, move, token, place, holder, free
-- KEYS[1] pending
-- KEYS[2] jobs
-- KEYS[3] history
-- KEYS[4] checkpoints
-- KEYS[5] cancels
-- KEYS[6] void
-- KEYS[7] workers
-- KEYS[8] scheduled
-- KEYS[9] dead
-- KEYS[10] wake
-- KEYS[11] unique
-- KEYS[12] token
-- KEYS[13] inflight...
-- ARGV[1] id
-- ARGV[2] encoded job as it was read
-- ARGV[3] encoded job as it is to be
-- ARGV[4] when it is due: '' now, '+ms' from now, 'ms' at that time
-- ARGV[5] expiry of the key in ms
-- ARGV[6] 1 when the job as it was read has the key until it starts, else 0
-- ARGV[7…] the workers whose inflight hashes are given, which must be all
-- Returns {'waiting', token} with a token of its own when that is done, else {place, 0} with another place: 'dead' also for
--   one that is marked as canceled, 'unknown' also for one that is no longer what was read, or has no longer the key, be it
--   since now. Or {'again', worker, …}.
local pending = KEYS[1]
local jobs = KEYS[2]
local history = KEYS[3]
local checkpoints = KEYS[4]
local cancels = KEYS[5]
local void = KEYS[6]
local workers = KEYS[7]
local scheduled = KEYS[8]
local dead = KEYS[9]
local wake = KEYS[10]
local unique = KEYS[11]
local token = KEYS[12]

redis.call('ZREM', scheduled, '')
redis.call('LLEN', pending)
redis.call('HLEN', void)
redis.call('HLEN', history)
redis.call('HLEN', checkpoints)
redis.call('LLEN', wake)
local again = changed_workers(workers, 7)
if again then
  return again
end

local id = ARGV[1]
local place = place_of(id, jobs, dead, 13)
if place == 'held' and ARGV[6] == '1' then
  if redis.call('HGET', jobs, id) == ARGV[2] then
    free(unique, id)
  end
  return {'unknown', 0}
end
if place == 'waiting' and redis.call('HEXISTS', cancels, id) == 1 then
  place = 'dead'
elseif place == 'waiting' and (holder_of(unique) ~= id or redis.call('HGET', jobs, id) ~= ARGV[2]) then
  place = 'unknown'
end
if place ~= 'waiting' then
  return {place, 0}
end

local now = now_ms()
local at = due_at(ARGV[4], now)
local drawn = next_token(token, now, '0', 0)
redis.call('SET', token, string.format('%.0f', drawn))
redis.call('HSET', jobs, id, ARGV[3])
redis.call('SET', unique, id, 'PX', ARGV[5])
redis.call('HDEL', checkpoints, id)
local value = redis.call('HGET', history, id)
if value then -- since when it can run is another time now
  local attempts, crashes = counts(value)
  redis.call('HSET', history, id, attempts .. ' ' .. crashes)
end
move_waiting(id, at, now, scheduled, void, wake)
return {place, drawn}
