-- tick: makes the job of a schedule's tick available and remembers the tick, unless it or a later one is remembered. Like
-- enqueue it is refused when memory is out.
-- Includes: now, due, whole, wake, schedule, history, ticks, holder, known
-- KEYS[1] pending
-- KEYS[2] jobs
-- KEYS[3] history
-- KEYS[4] scheduled
-- KEYS[5] dead
-- KEYS[6] wake
-- KEYS[7] ticks
-- KEYS[8] unique
-- ARGV[1] the schedule's name
-- ARGV[2] the tick in ms
-- ARGV[3] job id
-- ARGV[4] encoded job
-- ARGV[5] when it is due: '' now, '+ms' from now, 'ms' at that time
-- ARGV[6] of a unique job the expiry of its key in ms, else ''
-- Returns 'new', 'known' (the job waits or runs: left as it is), 'unique id' (that one has the key), 'f' or 'c' or '?'
--   (dead: failed, canceled, not known which), all of which remember the tick; 'passed' (the tick or a later one was
--   remembered) or 'early' (it is more than a minute ahead of the server's clock), which do nothing.
local pending = KEYS[1]
local jobs = KEYS[2]
local history = KEYS[3]
local scheduled = KEYS[4]
local dead = KEYS[5]
local wake = KEYS[6]
local ticks = KEYS[7]
local unique = KEYS[8]

-- Reads of the wrong type fail here, before anything is written.
local waiting = redis.call('LLEN', pending)
redis.call('HLEN', history)
redis.call('ZCARD', scheduled)
redis.call('ZCARD', dead)
redis.call('LLEN', wake)

local tick, id, due, expiry = tonumber(ARGV[2]), ARGV[3], ARGV[5], ARGV[6]
local now = now_ms()
if tick > now + 60000 then
  return 'early'
end
local last = last_tick(ticks, ARGV[1], now)
if last and tick <= last then
  return 'passed'
end

local answer = 'new'
local holder = expiry ~= '' and keeper_of(unique, id, jobs)
if holder then
  answer = 'unique ' .. holder
elseif redis.call('HSETNX', jobs, id, ARGV[4]) == 0 then
  answer = known_as(id, dead, history)
else
  if expiry ~= '' then
    redis.call('SET', unique, id, 'PX', expiry)
  end
  local at = due_at(due, now)
  if at > now then
    if schedule(scheduled, {string.format('%.0f', at), id}) then
      set_wake(wake)
    end
  else
    redis.call('RPUSH', pending, id)
    if waiting == 0 then
      set_wake(wake)
    end
  end
end
redis.call('HSET', ticks, ARGV[1], ARGV[2])
return answer
