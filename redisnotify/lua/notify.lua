-- notify: appends statuses to the logs of their topics and publishes them. A version that is not above the job's last
-- in the log is left out. An event without a job, such as a reset, is always appended.
-- KEYS[1…] the log of each topic; with sharded channels one topic's only, then its channels, which share its slot
-- ARGV[1] 1 for sharded channels, else 0
-- ARGV[2] a position that all new ones are to exceed
-- ARGV[3] how many entries a new log holds
-- ARGV[4] how long a log lives after its last entry, in ms; up to a sixteenth less
-- ARGV[5…] for each topic: the channel of its entries, the channel of the host's messages or '', and the number of
--   statuses; then for each status: job id, version as 19 digits, what its entry says after the positions and, if there
--   is a channel for it, the host's message
-- Returns {highest new position or '', error text or ''}: a topic whose key is of another type is left out, with an
--   error; the others are written.
local sharded = ARGV[1] == '1'
local topics = sharded and 1 or #KEYS
local log_size = ARGV[3]
local ttl = ARGV[4]
local fresh = tonumber(ttl) * 1000 / 16

-- Positions are microseconds of the server's clock, moved up where that would not rise. A claimed one that is a year
-- ahead is garbage.
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
local now = clock
local garbage = now + 31536000000000
local floor = tonumber(ARGV[2]) or 0
if floor >= now and floor < garbage then
  now = floor + 1
end
local now_text = string.format('%.0f', now)

-- header reads a log's own field: last position, entries ever written, jobs it remembers, entries it can hold, and when
-- it was last given its time to live, by the server's clock.
local function header(text)
  if text then
    local last, count, jobs, size, since = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
    if last and #last < 17 and #count < 17 and #jobs < 9 and #size < 5 and #since < 17
      and tonumber(last) < garbage and tonumber(size) > 0 then
      return last, tonumber(count), tonumber(jobs), size, since
    end
  end
  return '0', 0, 0, log_size, '0'
end

-- forget drops the versions of jobs that have no entry any more, and returns how many are left.
local function forget(log, count, size)
  local oldest = redis.call('HGET', log, 'e' .. (count - math.min(count, size)) % size)
  local from = oldest and string.match(oldest, '^{"position":"(%d+)"') or '0'
  local all = redis.call('HGETALL', log)
  local gone, left = {}, 0
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'j' then
      if string.sub(all[i + 1], 21) < from then
        gone[#gone + 1] = all[i]
      else
        left = left + 1
      end
    end
  end
  for i = 1, #gone, 500 do
    redis.call('HDEL', log, unpack(gone, i, math.min(i + 499, #gone)))
  end
  return left
end

-- publish takes pairs of channel and message.
local function publish(messages)
  local command = sharded and 'SPUBLISH' or 'PUBLISH'
  for i = 1, #messages, 2 do
    redis.call(command, messages[i], messages[i + 1])
  end
end

-- append writes n events, which begin at ARGV[first] and take step arguments each, behind what is known of them. It
-- returns the last position.
local function append(log, channel, host, first, n, step, known)
  local last, count, jobs, size, since = header(known[1])
  local position = math.max(tonumber(last) + 1, now)
  local newest, fields, messages = {}, {}, {}
  for i = 1, n do
    local s = first + (i - 1) * step
    local id, version = ARGV[s], ARGV[s + 1]
    local held = newest[id] or known[i + 1]
    if not held or string.sub(held, 1, 19) < version then
      local text = position == now and now_text or string.format('%.0f', position)
      local entry = '{"position":"' .. text .. '","after":"' .. last .. '",' .. ARGV[s + 2]
      local f, m = #fields, #messages
      fields[f + 1], fields[f + 2] = 'e' .. count % size, entry
      if id ~= '' then
        fields[f + 3], fields[f + 4] = 'j' .. id, version .. ' ' .. text
        newest[id] = version
        if not held then
          jobs = jobs + 1
        end
      end
      messages[m + 1], messages[m + 2] = channel, entry
      if step == 4 and ARGV[s + 3] ~= '' then
        messages[m + 3], messages[m + 4] = host, ARGV[s + 3]
      end
      last, count, position = text, count + 1, position + 1
    end
  end
  if #messages == 0 then
    return ''
  end
  local age = clock - tonumber(since)
  local stays = age >= 0 and age < fresh
  if not stays then
    since = string.format('%.0f', clock)
  end
  local f = #fields
  fields[f + 1], fields[f + 2] = '', last .. ' ' .. count .. ' ' .. jobs .. ' ' .. size .. ' ' .. since
  redis.call('HSET', log, unpack(fields))
  if not stays then
    redis.call('PEXPIRE', log, ttl)
  end
  if jobs > 8 * size then
    jobs = forget(log, count, tonumber(size))
    redis.call('HSET', log, '', last .. ' ' .. count .. ' ' .. jobs .. ' ' .. size .. ' ' .. since)
  end
  publish(messages)
  return last
end

local highest, failure = '', ''
local at = 5
for t = 1, topics do
  local log = KEYS[t]
  local channel, host, n = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local step = host == '' and 3 or 4
  local first = at + 3
  at = first + n * step
  local fields = {''}
  for i = first, at - 1, step do
    fields[#fields + 1] = 'j' .. ARGV[i]
  end
  local known = redis.pcall('HMGET', log, unpack(fields))
  if known.err then
    failure = known.err
  else
    local last = append(log, channel, host, first, n, step, known)
    if last > highest then
      highest = last
    end
  end
end
return {highest, failure}
