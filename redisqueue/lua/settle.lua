-- settle: ends claims. Verdicts on jobs that the worker does not hold under the verdict's token are ignored; 0 is the
-- token of a claim whose own is garbage.
-- Includes: now, wake, schedule, session, history, whole, head, dead
-- KEYS[1] pending
-- KEYS[2] suspects
-- KEYS[3] jobs
-- KEYS[4] history
-- KEYS[5] checkpoints
-- KEYS[6] cancels
-- KEYS[7] inflight
-- KEYS[8] workers
-- KEYS[9] scheduled
-- KEYS[10] dead
-- KEYS[11] wake
-- ARGV[1] worker
-- ARGV[2] crashes at which a job is a suspect
-- ARGV[3] greatest age of dead jobs in ms
-- ARGV[4] greatest number of dead jobs
-- ARGV[5] n, the number of jobs that are complete
-- ARGV[6…] id and token of each of those n; then six for each other verdict: id, token, action, delay in ms, cause and
--   trace of the attempt, '' for none. Actions: 'retry', 'snooze', 'release', 'f' (bury as failed), 'c' (bury as
--   canceled). Jobs that are released without a delay end at the head in claim order. A release without a trace leaves
--   that of the attempt before, and without a delay also since when the job could run.
-- Returns 'lost' when the session is over, else {ignored, trimmed}: verdicts that were ignored, and dead jobs that were
--   forgotten for their age or number.
local pending = KEYS[1]
local suspects = KEYS[2]
local jobs = KEYS[3]
local history = KEYS[4]
local checkpoints = KEYS[5]
local cancels = KEYS[6]
local inflight = KEYS[7]
local workers = KEYS[8]
local scheduled = KEYS[9]
local dead = KEYS[10]
local wake = KEYS[11]

redis.call('HDEL', inflight, '')
redis.call('HLEN', jobs)
if not registered(workers, ARGV[1]) then
  return 'lost'
end

local n = tonumber(ARGV[5])
local others = 6 + 2 * n -- where the verdicts of six begin
local ids = {}
for i = 6, others - 1, 2 do
  ids[#ids + 1] = ARGV[i]
end
for i = others, #ARGV, 6 do
  ids[#ids + 1] = ARGV[i]
end
local tokens = redis.call('HMGET', inflight, unpack(ids))
local ignored = 0
local seen = {} -- of several verdicts on one job, the first counts, and completion before all others

-- holds returns whether the worker holds ids[i] under the token that a verdict has.
local function holds(i, sent)
  return tokens[i] == sent or (sent == '0' and tokens[i] and whole(tokens[i]) == 0)
end

local function complete()
  local done = {}
  for i = 1, n do
    if holds(i, ARGV[5 + 2 * i]) then
      done[#done + 1] = ids[i]
      seen[ids[i]] = true
    end
  end
  ignored = ignored + n - #done
  if #done == 0 then
    return
  end
  if redis.call('EXISTS', history, checkpoints, cancels) > 0 then
    redis.call('HDEL', history, unpack(done))
    redis.call('HDEL', checkpoints, unpack(done))
    redis.call('HDEL', cancels, unpack(done))
  end
  redis.call('HDEL', jobs, unpack(done))
  redis.call('HDEL', inflight, unpack(done))
end
if n > 0 then
  complete()
end
if n == #ids then
  return {ignored, 0}
end

-- Reads of the wrong type fail here, before anything that the verdicts below write.
redis.call('LLEN', pending)
redis.call('LLEN', suspects)
redis.call('ZCARD', scheduled)
redis.call('ZCARD', dead)
redis.call('LLEN', wake)

local now = now_ms()
local histories = look_up(history, ids)
local marks = look_up(cancels, ids)
local settled = {}
local released, to_scheduled = {}, {}
local to_history, to_dead, unmarked = {}, {}, {}

-- remember writes the counts of a job that is put back, when it is due again, and the trace of its attempt.
local function remember(id, attempts, crashes, at, trace)
  to_history[#to_history + 1] = id
  to_history[#to_history + 1] = attempts .. ' ' .. crashes .. ' ' .. at .. (trace ~= '' and ' ' .. trace or '')
end

-- put_off schedules a job and returns when it is due; one that is marked is due at once.
local function put_off(i, id, delay)
  local at = string.format('%.0f', now + (marks[i] and 0 or delay))
  to_scheduled[#to_scheduled + 1] = at
  to_scheduled[#to_scheduled + 1] = id
  return at
end

local function judge(i, id, action, delay, cause, trace)
  local attempts, crashes = counts(histories[i])
  if action == 'release' and delay == 0 then
    released[#released + 1] = {id = id, token = whole(tokens[i])}
    if trace ~= '' then
      remember(id, attempts, crashes, string.format('%.0f', now), trace)
    end
  elseif action == 'release' then
    local _, before = since(histories[i])
    remember(id, attempts, crashes, put_off(i, id, delay), trace ~= '' and trace or before)
  elseif action == 'snooze' then
    remember(id, attempts, crashes, put_off(i, id, delay), trace)
  elseif action == 'retry' then
    remember(id, attempts + 1, crashes, put_off(i, id, delay), trace)
  else
    to_history[#to_history + 1] = id
    to_history[#to_history + 1] = attempts .. ' ' .. crashes .. ' ' .. action .. ' ' .. cause
    to_dead[#to_dead + 1] = string.format('%.0f', now)
    to_dead[#to_dead + 1] = id
    unmarked[#unmarked + 1] = id
  end
end

local i = n
for at = others, #ARGV, 6 do
  i = i + 1
  local id = ids[i]
  if holds(i, ARGV[at + 1]) and not seen[id] then
    seen[id] = true
    settled[#settled + 1] = id
    judge(i, id, ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5])
  else
    ignored = ignored + 1
  end
end
if #settled == 0 then
  return {ignored, 0}
end

-- Destinations first, the source last: an error in between can double a job, but not lose it.
if #to_history > 0 then
  redis.call('HSET', history, unpack(to_history))
end
local trimmed = 0
if #to_dead > 0 then
  redis.call('ZADD', dead, unpack(to_dead))
  redis.call('HDEL', cancels, unpack(unmarked))
  trimmed = trim_dead(dead, jobs, history, checkpoints, now, tonumber(ARGV[3]), tonumber(ARGV[4]), 500)
end
local earlier = schedule(scheduled, to_scheduled)
if #released > 0 then
  table.sort(released, function(a, b) return a.token > b.token end)
  local order = {}
  for k, job in ipairs(released) do
    order[k] = job.id
  end
  put_back(pending, suspects, history, order, 0, tonumber(ARGV[2]))
end
redis.call('HDEL', inflight, unpack(settled))
if earlier or #released > 0 then
  set_wake(wake)
end
return {ignored, trimmed}
