-- claim: hands out jobs to a worker. What is due is promoted first; suspects come before pending. It ends early when
-- the jobs become too large for one reply; what it did not take stays where it is.
-- Includes: now, wake, schedule, session, history, whole, token
-- KEYS[1] pending
-- KEYS[2] suspects
-- KEYS[3] jobs
-- KEYS[4] history
-- KEYS[5] checkpoints
-- KEYS[6] cancels
-- KEYS[7] void
-- KEYS[8] inflight
-- KEYS[9] workers
-- KEYS[10] scheduled
-- KEYS[11] wake
-- KEYS[12] token
-- KEYS[13] paused
-- ARGV[1] worker
-- ARGV[2] the most jobs to hand out
-- ARGV[3] a token that the new ones must exceed
-- ARGV[4] 1 when the worker may take a suspect that runs, 0 when it holds one or may hold one
-- ARGV[5] crashes at which a job is handed out in order not to be run
-- ARGV[6] crashes at which a job is a suspect
-- ARGV[7] poll interval in ms
-- ARGV[8] where in this millisecond the tokens begin, if they are its first: by chance, as of two masters at once, after a
--   failover, both hand out what falls due in it
-- Returns 'lost' when the session is over, else {now, next, token, dropped, n, id, body × n, index, 'attempts crashes
--   canceled due trace', checkpoint × some}. Times are in ms; next is when the next scheduled job is due, now when more
--   waits already, -1 if nothing is scheduled, -2 when the queue is paused. The n jobs have the tokens from token on. Jobs
--   without the last three have none of it; due is when the job became due again and trace that of its attempt before, both
--   left out where they aren't known. A dropped entry had no body, or was a second one of a job in the reply.
local pending = KEYS[1]
local suspects = KEYS[2]
local jobs = KEYS[3]
local history = KEYS[4]
local checkpoints = KEYS[5]
local cancels = KEYS[6]
local void = KEYS[7]
local inflight = KEYS[8]
local workers = KEYS[9]
local scheduled = KEYS[10]
local wake = KEYS[11]
local token = KEYS[12]
local paused = KEYS[13]

local limit = tonumber(ARGV[2])
local may_suspect = ARGV[4] == '1'
local max_crashes = tonumber(ARGV[5])
local threshold = tonumber(ARGV[6])
local max_bytes = 4194304 -- of bodies and checkpoints in a reply, unless one job has more

redis.call('HDEL', inflight, '')
-- Reads of the wrong type fail here, before anything else is written.
redis.call('LLEN', pending)
redis.call('HLEN', jobs)
redis.call('LLEN', wake)
if not registered(workers, ARGV[1]) then
  return 'lost'
end

local now = now_ms()
if redis.call('EXISTS', paused) == 1 then
  return {now, -2, 0, 0, 0}
end
local due = next_due(scheduled)
if due and due <= now then
  local ids = redis.call('ZRANGEBYSCORE', scheduled, '-inf', string.format('%.0f', now), 'LIMIT', 0,
    math.min(limit + 100, 500))
  local values = look_up(history, ids)
  local to_pending, to_suspects = {}, {}
  for i, id in ipairs(ids) do
    local _, crashes = counts(values[i])
    local target = crashes >= threshold and to_suspects or to_pending
    target[#target + 1] = id
  end
  if #to_suspects > 0 then
    redis.call('RPUSH', suspects, unpack(to_suspects))
  end
  if #to_pending > 0 then
    redis.call('RPUSH', pending, unpack(to_pending))
  end
  redis.call('ZREM', scheduled, unpack(ids))
  due = next_due(scheduled)
end

local first = next_token(token, now, ARGV[3], tonumber(ARGV[8]))
local ids, bodies, kept = {}, {}, {} -- of what is handed out: kept are the checkpoints
local taken = {} -- by id
local bytes, dropped = 0, 0
local rare = redis.call('EXISTS', suspects, history, checkpoints, cancels, void) > 0
local voids, saved = false, false
if rare then
  redis.call('LLEN', suspects)
  redis.call('HLEN', history)
  redis.call('HLEN', cancels)
  saved = redis.call('HLEN', checkpoints) > 0
  voids = redis.call('HLEN', void) > 0
end

-- take adds a job to those that are handed out. It returns false when the reply has no room for it, and drops an entry
-- that has no body, or whose job is among them already.
local function take(id, body, checkpoint)
  if not body or taken[id] then
    dropped = dropped + 1
    return true
  end
  local size = #body + (checkpoint and #checkpoint or 0)
  if #ids > 0 and bytes + size > max_bytes then
    return false
  end
  bytes = bytes + size
  taken[id] = true
  ids[#ids + 1] = id
  bodies[#ids] = body
  kept[#ids] = checkpoint
  return true
end

-- write returns a token in decimal. To format so large a number takes longer than all else that a job costs here but the
-- look-ups, so that all digits but the last six are formatted once.
local base = first - first % 1000000
local head = string.format('%.0f', base / 1000000)
local function write(token)
  local rest = token - base
  if base == 0 or rest >= 1000000 then
    return string.format('%.0f', token)
  end
  return head .. string.format('%06d', rest)
end

-- hold makes the worker the holder of what was taken from the place from on; it comes before that leaves the list.
local function hold(from)
  if from > #ids then
    return
  end
  redis.call('SET', token, string.format('%.0f', first + #ids - 1))
  local entries = {}
  for i = from, #ids do
    entries[#entries + 1] = ids[i]
    entries[#entries + 1] = write(first + i - 1)
  end
  redis.call('HSET', inflight, unpack(entries))
end

-- stale returns how many entries of id no longer count, by its value in void. What is no such number is removed: the
-- entries count.
local function stale(id, value)
  local n = whole(value)
  if value and n == 0 then
    redis.call('HDEL', void, id)
  end
  return n
end

-- use_void says that one entry of id in the lists, one that no longer counted, is gone.
local function use_void(id)
  if redis.call('HINCRBY', void, id, -1) <= 0 then
    redis.call('HDEL', void, id)
  end
end

-- Suspects: at most one that runs, and nothing beside it when it has its last crash to spend. Those that are handed
-- out in order not to be run do not count.
local took_suspect, alone, no_room = false, false, false
if rare then
  for _ = 1, 100 do
    local id = #ids < limit and redis.call('LINDEX', suspects, 0)
    if not id then
      break
    end
    local body = redis.call('HGET', jobs, id)
    if voids and stale(id, redis.call('HGET', void, id)) > 0 then
      use_void(id)
    else
      local _, crashes = counts(redis.call('HGET', history, id))
      local runs = body and not taken[id] and crashes < max_crashes and redis.call('HEXISTS', cancels, id) == 0
      if runs and (took_suspect or not may_suspect) then
        break
      end
      local from = #ids + 1
      if not take(id, body, saved and redis.call('HGET', checkpoints, id)) then
        no_room = true
        break
      end
      hold(from)
      took_suspect = took_suspect or runs
      alone = runs and crashes >= max_crashes - 1
    end
    redis.call('LPOP', suspects)
    if alone then
      break
    end
  end
end

-- live returns those of a batch from the head of pending that still count, at most most, and their places in it.
local function live(batch, most)
  local values = redis.call('HMGET', void, unpack(batch))
  local left, found, places = {}, {}, {}
  for i, id in ipairs(batch) do
    if #found == most then
      break
    end
    left[id] = left[id] or stale(id, values[i])
    if left[id] > 0 then
      left[id] = left[id] - 1
    else
      found[#found + 1] = id
      places[#found] = i
    end
  end
  return found, places
end

-- take_all takes jobs while the reply has room, and returns how many entries that uses up. Bodies are read in parts:
-- what has no room is mostly not read either.
local function take_all(found)
  local used, part = 0, 16
  while used < #found do
    local last = math.min(used + part, #found)
    local values = redis.call('HMGET', jobs, unpack(found, used + 1, last))
    local marks = saved and redis.call('HMGET', checkpoints, unpack(found, used + 1, last)) or {}
    for i = 1, #values do
      if not take(found[used + 1], values[i], marks[i]) then
        return used
      end
      used = used + 1
    end
    local fit = bytes > 0 and math.floor((max_bytes - bytes) * #ids / bytes) or part
    part = math.max(1, math.min(4 * part, fit))
  end
  return used
end

-- Pending. Entries that do not count may use up a batch, so there are several.
for _ = 1, 4 do
  local most = limit - #ids
  if alone or no_room or most <= 0 then
    break
  end
  local batch = redis.call('LRANGE', pending, 0, voids and math.min(most + 100, 500) - 1 or most - 1)
  if #batch == 0 then
    break
  end
  local found, places = batch, nil
  if voids then
    found, places = live(batch, most)
  end
  local from = #ids + 1
  local used = take_all(found)
  no_room = used < #found
  hold(from)
  if places then
    -- Entries that do not count go with those before them.
    local last = no_room and places[used + 1] - 1 or #found == most and places[most] or #batch
    local k = 1
    for i = 1, last do
      if places[k] == i then
        k = k + 1
      else
        use_void(batch[i])
      end
    end
    used = last
  end
  if used > 0 then
    redis.call('LPOP', pending, used)
  end
end

local left = redis.call('LLEN', pending)
if voids and left == 0 and redis.call('LLEN', suspects) == 0 then
  redis.call('DEL', void)
end

-- The wake-up is passed on while there is something for others.
local full = #ids >= limit
local soon = full and due and due <= now + ARGV[7]
if left > 0 or soon or (took_suspect and redis.call('LLEN', suspects) > 0) then
  set_wake(wake)
end
if left > 0 and not full and not alone then
  due = now
end

local reply = {now, due or -1, first, dropped, #ids}
for i, id in ipairs(ids) do
  reply[4 + 2 * i] = id
  reply[5 + 2 * i] = bodies[i]
end
if rare and #ids > 0 then
  local histories, canceled = look_up(history, ids), look_up(cancels, ids)
  for i = 1, #ids do
    if histories[i] or canceled[i] or kept[i] then
      local attempts, crashes = counts(histories[i])
      local due_again, trace = since(histories[i])
      reply[#reply + 1] = i
      reply[#reply + 1] = attempts .. ' ' .. crashes .. ' ' .. (canceled[i] and 1 or 0) .. ' ' .. due_again .. ' ' .. trace
      reply[#reply + 1] = kept[i] or ''
    end
  end
end
return reply
