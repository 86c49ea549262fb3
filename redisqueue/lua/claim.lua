-- claim: hands out jobs to a worker. What is due is promoted first; suspects come before pending.
-- Includes: now, wake, schedule, session, history, token
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
-- ARGV[1] worker
-- ARGV[2] the most jobs to hand out
-- ARGV[3] a token that the new ones must exceed
-- ARGV[4] 1 when the worker may take a suspect that runs, 0 when it holds one or may hold one
-- ARGV[5] crashes at which a job is handed out in order not to be run
-- ARGV[6] crashes at which a job is a suspect
-- ARGV[7] poll interval in ms
-- Returns 'lost' when the session is over, else {now, next, token, dropped, n, id, body × n, index, 'attempts crashes
--   canceled', checkpoint × some}. Times are in ms; next is when the next scheduled job is due, now when more waits
--   already, -1 if nothing is scheduled. The n jobs have the tokens from token on. Jobs without the last three have
--   none of it. A dropped entry had no body.
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

local limit = tonumber(ARGV[2])
local may_suspect = ARGV[4] == '1'
local max_crashes = tonumber(ARGV[5])
local threshold = tonumber(ARGV[6])

redis.call('HDEL', inflight, '')
-- Reads of the wrong type fail here, before anything else is written.
redis.call('LLEN', pending)
redis.call('HLEN', jobs)
redis.call('LLEN', wake)
if not registered(workers, ARGV[1]) then
  return 'lost'
end

local now = now_ms()
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

local first = next_token(token, now, tonumber(ARGV[3]))
local ids, bodies = {}, {}
local dropped = 0
local rare = redis.call('EXISTS', suspects, history, checkpoints, cancels, void) > 0
local voids = rare and redis.call('HLEN', void) > 0
if rare then
  redis.call('LLEN', suspects)
  redis.call('HLEN', history)
  redis.call('HLEN', checkpoints)
  redis.call('HLEN', cancels)
end

-- hold makes the worker the holder of jobs; it comes before they leave the list.
local function hold(new_ids, new_bodies)
  if #new_ids == 0 then
    return
  end
  redis.call('SET', token, string.format('%.0f', first + #ids + #new_ids - 1))
  local entries = {}
  for i, id in ipairs(new_ids) do
    entries[2 * i - 1] = id
    entries[2 * i] = string.format('%.0f', first + #ids)
    ids[#ids + 1] = id
    bodies[#bodies + 1] = new_bodies[i]
  end
  redis.call('HSET', inflight, unpack(entries))
end

-- use_void says that one entry of id in the lists, one that no longer counted, is gone.
local function use_void(id)
  if redis.call('HINCRBY', void, id, -1) <= 0 then
    redis.call('HDEL', void, id)
  end
end

-- Suspects: at most one that runs, and nothing beside it when it has its last crash to spend. Those that are handed
-- out in order not to be run do not count.
local took_suspect, alone = false, false
if rare then
  for _ = 1, 100 do
    local id = #ids < limit and redis.call('LINDEX', suspects, 0)
    if not id then
      break
    end
    local body = redis.call('HGET', jobs, id)
    if voids and redis.call('HEXISTS', void, id) == 1 then
      use_void(id)
    elseif not body then
      dropped = dropped + 1
    else
      local _, crashes = counts(redis.call('HGET', history, id))
      local runs = crashes < max_crashes and redis.call('HEXISTS', cancels, id) == 0
      if runs and (took_suspect or not may_suspect) then
        break
      end
      hold({id}, {body})
      took_suspect = took_suspect or runs
      alone = runs and crashes >= max_crashes - 1
    end
    redis.call('LPOP', suspects)
    if alone then
      break
    end
  end
end

-- live returns those of a batch from the head of pending that still count, at most most, and how many entries that
-- uses up.
local function live(batch, most)
  if not voids then
    return batch, #batch
  end
  local stale = redis.call('HMGET', void, unpack(batch))
  local left, kept = {}, {}
  for i, id in ipairs(batch) do
    if #kept == most then
      return kept, i - 1
    end
    left[id] = left[id] or tonumber(stale[i] or 0)
    if left[id] > 0 then
      left[id] = left[id] - 1
      use_void(id)
    else
      kept[#kept + 1] = id
    end
  end
  return kept, #batch
end

-- Pending. Entries that do not count may use up a batch, so there are several.
for _ = 1, 4 do
  local most = limit - #ids
  if alone or most <= 0 then
    break
  end
  local batch = redis.call('LRANGE', pending, 0, voids and math.min(most + 100, 500) - 1 or most - 1)
  if #batch == 0 then
    break
  end
  local found, used = live(batch, most)
  local values = #found > 0 and redis.call('HMGET', jobs, unpack(found)) or {}
  local new_ids, new_bodies = found, values
  for i = 1, #found do
    if not values[i] then
      new_ids, new_bodies = {}, {}
      break
    end
  end
  if new_ids ~= found then
    for i, id in ipairs(found) do
      if values[i] then
        new_ids[#new_ids + 1] = id
        new_bodies[#new_bodies + 1] = values[i]
      end
    end
    dropped = dropped + #found - #new_ids
  end
  hold(new_ids, new_bodies)
  redis.call('LPOP', pending, used)
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
  local histories, canceled, kept = look_up(history, ids), look_up(cancels, ids), look_up(checkpoints, ids)
  for i = 1, #ids do
    if histories[i] or canceled[i] or kept[i] then
      local attempts, crashes = counts(histories[i])
      reply[#reply + 1] = i
      reply[#reply + 1] = attempts .. ' ' .. crashes .. ' ' .. (canceled[i] and 1 or 0)
      reply[#reply + 1] = kept[i] or ''
    end
  end
end
return reply
