-- enqueue: makes jobs available, each once by id. It is refused when memory is out.
-- Includes: now, due, wake, schedule, history, holder, known
-- KEYS[1] pending
-- KEYS[2] jobs
-- KEYS[3] history
-- KEYS[4] scheduled
-- KEYS[5] dead
-- KEYS[6] wake
-- KEYS[7] unique...
-- ARGV[1…] three for each job: id, encoded job, and when it is due: '' now, '+ms' from now, 'ms' at that time; of a unique
--   one behind that a space and the expiry of its key in ms. The keys stand in the order of their jobs.
-- Returns an empty array when all jobs are new, else {text, index, answer, index, answer, …} for those that are not:
--   'known' (waits or runs: left as it is), 'unique id' (that one has the key), 'f' or 'c' or '?' (dead: failed, canceled,
--   not known which) or 'refused' (the first write failed with the error text, so nothing at all was written).
local pending = KEYS[1]
local jobs = KEYS[2]
local history = KEYS[3]
local scheduled = KEYS[4]
local dead = KEYS[5]
local wake = KEYS[6]

-- Reads of the wrong type fail here, before anything is written.
local waiting = redis.call('LLEN', pending)
redis.call('HLEN', history)
redis.call('ZCARD', scheduled)
redis.call('ZCARD', dead)
redis.call('LLEN', wake)

-- refuse answers for all jobs after the very first write failed; Redis lets a script go on once it has written. A known
-- id is no refusal; but a replica may know what its master has long forgotten, so its word does not count.
local function refuse(failure)
  if string.find(failure.err, 'READONLY') then
    return failure
  end
  local answer = {failure.err}
  for i = 1, #ARGV, 3 do
    answer[#answer + 1] = (i + 2) / 3
    answer[#answer + 1] = redis.call('HEXISTS', jobs, ARGV[i]) == 1 and known_as(ARGV[i], dead, history) or 'refused'
  end
  return answer
end

local keys = 6 -- those that jobs have met so far

-- read_due returns when a job is due, and of a unique one also its key and for how long that is taken.
local function read_due(due)
  local at, expiry = string.match(due, '^(%S*) (%d+)$')
  if not at then
    return due
  end
  keys = keys + 1
  return at, KEYS[keys], expiry
end

local answer = {}
local to_pending, to_scheduled = {}, {}
local now
for i = 1, #ARGV, 3 do
  local id, due, unique, expiry = ARGV[i], ARGV[i + 2], nil, nil
  if #KEYS > 6 then
    due, unique, expiry = read_due(due)
  end
  local holder = unique and keeper_of(unique, id, jobs)
  local added = holder and 0 or redis.pcall('HSETNX', jobs, id, ARGV[i + 1])
  if type(added) == 'table' then
    return refuse(added)
  end
  if unique and added == 1 then
    redis.call('SET', unique, id, 'PX', expiry)
  end
  if holder then
    answer[1] = ''
    answer[#answer + 1] = (i + 2) / 3
    answer[#answer + 1] = 'unique ' .. holder
  elseif added == 0 then
    answer[1] = ''
    answer[#answer + 1] = (i + 2) / 3
    answer[#answer + 1] = known_as(id, dead, history)
  elseif due == '' then
    to_pending[#to_pending + 1] = id
  else
    now = now or now_ms()
    local at = due_at(due, now)
    if at <= now then
      to_pending[#to_pending + 1] = id
    else
      to_scheduled[#to_scheduled + 1] = string.format('%.0f', at)
      to_scheduled[#to_scheduled + 1] = id
    end
  end
end

local earlier = schedule(scheduled, to_scheduled)
if #to_pending > 0 then
  redis.call('RPUSH', pending, unpack(to_pending))
end
if earlier or (waiting == 0 and #to_pending > 0) then
  set_wake(wake)
end
return answer
