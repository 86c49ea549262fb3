-- list_sorted: lists scheduled jobs, the earliest due first, or dead ones, the latest first. It writes nothing. Where the
-- last page ended is found by halving, also when the job that was there has gone.
-- Includes: history, page
-- KEYS[1] jobs
-- KEYS[2] history
-- KEYS[3] cancels
-- KEYS[4] scheduled
-- KEYS[5] dead
-- ARGV[1] 'scheduled' or 'dead'
-- ARGV[2] the most jobs to list
-- ARGV[3] score of the job that the last page ended with, '' for the first page
-- ARGV[4] its id
-- Returns {score, id, id, score, body, history, mark, …}: where the page ended, both '' if it is the last one, and the jobs.
local jobs = KEYS[1]
local history = KEYS[2]
local cancels = KEYS[3]
local scheduled = KEYS[4]
local dead = KEYS[5]

local set = ARGV[1] == 'dead' and dead or scheduled
local limit, score, last = tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- before reports whether a is the less of two ids in the order of sorted sets: by bytes, whatever the server's language.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

-- rank returns how many members come before where the last page ended, that one included if own is true.
local function rank(own)
  local low = redis.call('ZCOUNT', set, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', set, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = redis.call('ZRANGE', set, middle, middle)[1]
    if before(id, last) or (own and id == last) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local entries
if set == scheduled then
  local from = score ~= '' and rank(true) or 0
  entries = redis.call('ZRANGE', set, from, from + limit - 1, 'WITHSCORES')
elseif score == '' then
  entries = redis.call('ZREVRANGE', set, 0, limit - 1, 'WITHSCORES')
else
  local from = redis.call('ZCARD', set) - rank(false)
  entries = redis.call('ZREVRANGE', set, from, from + limit - 1, 'WITHSCORES')
end
local ids, scores = {}, {}
for i = 1, #entries, 2 do
  ids[#ids + 1], scores[#ids + 1] = entries[i], entries[i + 1]
end
local reply = {'', ''}
local used = rows(reply, ids, scores, jobs, history, cancels, {})
if used < #ids or #ids == limit then
  reply[1], reply[2] = scores[used], ids[used]
end
return reply
