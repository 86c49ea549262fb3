-- edit: replaces a waiting job's body, if it is still the one that was read, and perhaps when it is due, and draws a token. A job that
-- waited in a list and is due later now leaves its entry there, which no longer counts.
-- Includes: now, due, wake, schedule, history, whole, discount, move, token, place
-- KEYS[1] pending
-- KEYS[2] jobs
-- KEYS[3] cancels
-- KEYS[4] void
-- KEYS[5] workers
-- KEYS[6] scheduled
-- KEYS[7] dead
-- KEYS[8] wake
-- KEYS[9] history
-- KEYS[10] token
-- KEYS[11] inflight...
-- ARGV[1] id
-- ARGV[2] encoded job as it was read
-- ARGV[3] encoded job as it is to be
-- ARGV[4] when it is due: 'stay', 'now' whatever the body says, else as the body says: '' now, '+ms' from now, 'ms' at that time
-- ARGV[5…] the workers whose inflight hashes are given, which must be all
-- Returns {place, due, token}: 'waiting' when it was edited, with the time in ms at which it is due, 0 when that is past.
--   When it was not: another place, 'canceled' if it is marked, or 'changed' if it has another body. Or {'again', worker, …}.
local pending = KEYS[1]
local jobs = KEYS[2]
local cancels = KEYS[3]
local void = KEYS[4]
local workers = KEYS[5]
local scheduled = KEYS[6]
local dead = KEYS[7]
local wake = KEYS[8]
local history = KEYS[9]
local token = KEYS[10]

redis.call('ZREM', scheduled, '')
redis.call('LLEN', pending)
redis.call('HLEN', void)
redis.call('LLEN', wake)
redis.call('HLEN', history)
local again = changed_workers(workers, 5)
if again then
  return again
end

local id, move = ARGV[1], ARGV[4]
local place = place_of(id, jobs, dead, 11)
if place == 'waiting' and redis.call('HEXISTS', cancels, id) == 1 then
  place = 'canceled'
elseif place == 'waiting' and redis.call('HGET', jobs, id) ~= ARGV[2] then
  place = 'changed'
end
if place ~= 'waiting' then
  return {place, 0, 0}
end

local now = now_ms()
local due = redis.call('ZSCORE', scheduled, id)
local at = due and tonumber(due) or 0
local drawn = string.format('%.0f', next_token(token, now, '0', 0))
redis.call('SET', token, drawn)
redis.call('HSET', jobs, id, ARGV[3])

if move ~= 'stay' then
  at = move == 'now' and now or due_at(move, now)
  local value = redis.call('HGET', history, id)
  -- One without a history tells by its body when it is due, but for one that is due now instead.
  if (value or move == 'now') and (due or at > now) then
    local attempts, crashes = counts(value)
    local _, trace = since(value)
    redis.call('HSET', history, id, attempts .. ' ' .. crashes .. ' ' .. string.format('%.0f', math.max(at, now))
      .. (trace ~= '' and ' ' .. trace or ''))
  end
  move_waiting(id, at, now, scheduled, void, wake)
end
return {place, at > now and string.format('%.0f', at) or 0, drawn}
