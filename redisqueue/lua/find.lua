-- find: tells what is known of one job. It writes nothing.
-- Includes: history, place
-- KEYS[1] jobs
-- KEYS[2] history
-- KEYS[3] cancels
-- KEYS[4] workers
-- KEYS[5] scheduled
-- KEYS[6] dead
-- KEYS[7] inflight...
-- ARGV[1] id
-- ARGV[2…] the workers whose inflight hashes are given, which must be all
-- Returns {place, id, number, body, history, mark, worker}, each '' where there is none: the place 'unknown', 'waiting',
--   'scheduled', 'held' or 'dead'; the number when it is due or died, or the token of its claim; who holds it. Or {'again',
--   worker, …} when the workers are others.
local jobs = KEYS[1]
local history = KEYS[2]
local cancels = KEYS[3]
local workers = KEYS[4]
local scheduled = KEYS[5]
local dead = KEYS[6]

local again = changed_workers(workers, 2)
if again then
  return again
end

local id = ARGV[1]
local place = place_of(id, jobs, dead, 7)
local number, holder = '', ''
if place == 'held' then
  for i = 7, #KEYS do
    local token = redis.call('HGET', KEYS[i], id)
    if token then
      number, holder = token, ARGV[i - 5]
      break
    end
  end
elseif place == 'dead' then
  number = redis.call('ZSCORE', dead, id)
elseif place == 'waiting' then
  local due = redis.call('ZSCORE', scheduled, id)
  if due then
    place, number = 'scheduled', due
  end
end
return {
  place, id, number, redis.call('HGET', jobs, id) or '', redis.call('HGET', history, id) or '',
  redis.call('HGET', cancels, id) or '', holder,
}
