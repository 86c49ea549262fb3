-- settle: ends claims. Verdicts on jobs that the worker does not hold under the verdict's token are ignored; 0 is the
-- token of a claim whose own is garbage.
-- Includes: now, wake, schedule, session, history, whole, head, dead, holder, free
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
-- KEYS[12] unique...
-- ARGV[1] worker
-- ARGV[2] crashes at which a job is a suspect
-- ARGV[3] greatest age of dead jobs in ms
-- ARGV[4] greatest number of dead jobs
-- ARGV[5] n, the number of jobs that are complete
-- ARGV[6] the number of unique keys
-- ARGV[7…] the ids of the jobs whose those are; then id and token of each of the n jobs; then six for each other verdict:
--   id, token, action, delay in ms, cause and trace of the attempt, '' for none. Actions: 'retry', 'snooze', 'release',
--   'f' (bury as failed), 'c' (bury as canceled). Jobs that are released without a delay end at the head in claim order. A
--   release without a trace leaves that of the attempt before, and without a delay also since when the job could run. The
--   keys of jobs that end are freed.
-- Returns 'lost' when the session is over, else {trimmed, place, …}: how many dead jobs were forgotten for their age or
--   number, and which verdicts were ignored, counted from 1.
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
local first = 7 + tonumber(ARGV[6]) -- where the jobs that are complete begin
local others = first + 2 * n -- where the verdicts of six begin
local ids = {}
for i = first, others - 1, 2 do
  ids[#ids + 1] = ARGV[i]
end
for i = others, #ARGV, 6 do
  ids[#ids + 1] = ARGV[i]
end
local tokens = redis.call('HMGET', inflight, unpack(ids))
local reply = {0} -- with the places of verdicts that are ignored
local seen = {} -- of several verdicts on one job, the first counts, and completion before all others

-- holds returns whether the worker holds ids[i] under the token that a verdict has.
local function holds(i, sent)
  return tokens[i] == sent or (sent == '0' and tokens[i] and whole(tokens[i]) == 0)
end

-- free_all frees the unique keys of those jobs that have ended; ended is a set of ids.
local function free_all(ended)
  for i = 7, first - 1 do
    if ended[ARGV[i]] then
      free(KEYS[5 + i], ARGV[i])
    end
  end
end

local function complete()
  local done = {}
  for i = 1, n do
    if holds(i, ARGV[first - 1 + 2 * i]) then
      done[#done + 1] = ids[i]
      seen[ids[i]] = true
    else
      reply[#reply + 1] = i
    end
  end
  if #done == 0 then
    return
  end
  free_all(seen)
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
  return reply
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
local to_history, to_dead, unmarked, ended = {}, {}, {}, {}

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
    ended[id] = true
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
    reply[#reply + 1] = i
  end
end
if #settled == 0 then
  return reply
end

-- Destinations first, the source last: an error in between can double a job, but not lose it.
if #to_history > 0 then
  redis.call('HSET', history, unpack(to_history))
end
if #to_dead > 0 then
  redis.call('ZADD', dead, unpack(to_dead))
  redis.call('HDEL', cancels, unpack(unmarked))
  free_all(ended)
  reply[1] = trim_dead(dead, jobs, history, checkpoints, now, tonumber(ARGV[3]), tonumber(ARGV[4]), 500)
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
return reply
