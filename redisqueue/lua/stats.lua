-- stats: counts a queue's jobs, and tells of those that are next in line. It writes nothing, and costs the same however
-- many jobs there are.
-- Includes: now, history, whole
-- KEYS[1] pending
-- KEYS[2] suspects
-- KEYS[3] jobs
-- KEYS[4] history
-- KEYS[5] void
-- KEYS[6] workers
-- KEYS[7] scheduled
-- KEYS[8] dead
-- KEYS[9] paused
-- ARGV[1] lease in ms
-- ARGV[2] the most ids in void whose entries are counted one by one; of more, each counts as one entry
-- ARGV[3] the most entries at the head of a list to look at
-- Returns {now, entries, void, due, scheduled, dead, open, first, paused, {worker, …}, {header, due, …}}. Times are in ms. Of the
--   numbers, entries is how many there are in the two lists and void how many of them don't count, due how many of the
--   scheduled jobs wait to be promoted, open how many workers have a lease that runs, first the due time of the first
--   scheduled job, -1 if there is none, paused 1 when the queue is, else 0. The workers are all, as their inflight hashes must be counted. For each list there
--   is the first line of the body of its first job that says when it could run, and when it became due again, '' if it
--   never did. Where none of those at its head says it, as their workers have died, there is the first job with '': since its
--   enqueue is the longest that it can have waited.
local pending = KEYS[1]
local suspects = KEYS[2]
local jobs = KEYS[3]
local history = KEYS[4]
local void = KEYS[5]
local workers = KEYS[6]
local scheduled = KEYS[7]
local dead = KEYS[8]
local paused = KEYS[9]

local now = now_ms()
local voids = redis.call('HLEN', void)
local most = tonumber(ARGV[3])
local heads = {}

-- describe returns the header of an entry's job, nil if there is none, when it became due again, and whether it says since
-- when it could run.
local function describe(id)
  local body = redis.call('HGET', jobs, id)
  local line = body and string.find(body, '\n', 1, true)
  if not line then
    return nil
  end
  local value = redis.call('HGET', history, id)
  local attempts, crashes = counts(value)
  local due = since(value)
  return string.sub(body, 1, line - 1), due, due ~= '' or attempts + crashes == 0
end

local function add(header, due)
  heads[#heads + 1] = header
  heads[#heads + 1] = due
end

local function look(list)
  local left = {} -- by id, how many entries don't count
  local first
  for _, id in ipairs(redis.call('LRANGE', list, 0, most - 1)) do
    left[id] = left[id] or (voids > 0 and whole(redis.call('HGET', void, id)) or 0)
    if left[id] > 0 then
      left[id] = left[id] - 1
    else
      local header, due, says = describe(id)
      if says then
        return add(header, due)
      end
      first = first or header
    end
  end
  if first then
    add(first, '')
  end
end
look(suspects)
look(pending)

local stale = voids
if voids > 0 and voids <= tonumber(ARGV[2]) then
  stale = 0
  for _, value in ipairs(redis.call('HVALS', void)) do
    stale = stale + whole(value)
  end
end

local first = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2]
local due = redis.call('ZCOUNT', scheduled, '-inf', string.format('%.0f', now))
local scores = redis.call('ZRANGE', workers, 0, -1, 'WITHSCORES')
local latest = now + 2 * ARGV[1] + 3600000 -- as for the heartbeat, which knows no longer leases
local names, open = {}, 0
for i = 1, #scores, 2 do
  names[#names + 1] = scores[i]
  local deadline = tonumber(scores[i + 1])
  if deadline >= now and deadline <= latest then
    open = open + 1
  end
end
return {
  now, redis.call('LLEN', pending) + redis.call('LLEN', suspects), stale, due, redis.call('ZCARD', scheduled) - due,
  redis.call('ZCARD', dead), open, first and tonumber(first) or -1, redis.call('EXISTS', paused),
  names, heads,
}
