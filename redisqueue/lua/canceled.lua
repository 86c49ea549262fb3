-- canceled: tells a worker which of the jobs that it holds are to be canceled.
-- Includes: marked
-- KEYS[1] inflight
-- KEYS[2] cancels
-- Returns their ids.
local inflight = KEYS[1]
local cancels = KEYS[2]

redis.call('HDEL', inflight, '')
if redis.call('EXISTS', cancels) == 0 then
  return {}
end
return marked(redis.call('HGETALL', inflight), cancels)
