-- know: tells where jobs are.
-- Includes: place
-- KEYS[1] jobs
-- KEYS[2] workers
-- KEYS[3] dead
-- KEYS[4] inflight...
-- ARGV[1] number of ids
-- ARGV[2…] the ids, then the workers whose inflight hashes are given, which must be all
-- Returns {'places', place, …} in the order of the ids, each 'unknown', 'waiting', 'held' or 'dead'. Or {'again',
--   worker, …} when the workers are others.
local jobs = KEYS[1]
local workers = KEYS[2]
local dead = KEYS[3]

redis.call('ZREM', workers, '')
local count = tonumber(ARGV[1])
local again = changed_workers(workers, count + 2)
if again then
  return again
end

local places = {'places'}
for i = 2, count + 1 do
  local id = ARGV[i]
  if redis.call('HEXISTS', jobs, id) == 1 then
    places[i] = place_of(id, jobs, dead, 4) -- a look at every worker
  else
    places[i] = 'unknown'
  end
end
return places
