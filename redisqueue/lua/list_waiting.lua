-- list_waiting: lists jobs that may be claimed, in the order in which they will be. It writes nothing.
-- Includes: history, whole, page
-- KEYS[1] pending
-- KEYS[2] suspects
-- KEYS[3] jobs
-- KEYS[4] history
-- KEYS[5] cancels
-- KEYS[6] void
-- KEYS[7] scheduled
-- KEYS[8] dead
-- ARGV[1] the list to go on with, 'suspects' or 'pending'
-- ARGV[2] the place in it, from 0
-- ARGV[3] the most entries to look at
-- Returns {list, place, id, '', body, history, mark, …}: where to go on, '' and 0 at the end, and the jobs. Entries that do
--   not count are left out.
local pending = KEYS[1]
local suspects = KEYS[2]
local jobs = KEYS[3]
local history = KEYS[4]
local cancels = KEYS[5]
local void = KEYS[6]
local scheduled = KEYS[7]
local dead = KEYS[8]

local list, from, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function entries(key)
  return redis.call('LRANGE', key, string.format('%.0f', from), string.format('%.0f', from + limit - 1))
end
local ids = {}
if list == 'suspects' then
  ids = entries(suspects)
  if #ids == 0 then
    list, from = 'pending', 0
  end
end
if list == 'pending' then
  ids = entries(pending)
end

-- Of a job with entries that do not count it can't be told here which those are, but whether there is one that does.
local skip, seen = {}, {}
for i, value in ipairs(look_up(void, ids)) do
  local id = ids[i]
  if whole(value) > 0 and (redis.call('ZSCORE', dead, id) or redis.call('ZSCORE', scheduled, id)) then
    skip[id] = true
  end
end
local once = {}
for _, id in ipairs(ids) do
  once[#once + 1] = seen[id] and '' or id -- no job has an empty id
  seen[id] = true
end

local reply = {'', 0}
local used = rows(reply, once, {}, jobs, history, cancels, skip)
if used < #ids or #ids == limit then
  reply[1], reply[2] = list, from + used
elseif list == 'suspects' then
  reply[1], reply[2] = 'pending', 0
end
return reply
