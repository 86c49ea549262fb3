-- checkpoint: replaces the checkpoint of a job that a worker holds. One that a later one has overtaken, as the connection
-- that it was sent on stood still, changes nothing. The later one says so itself, when the worker doesn't know what became
-- of an earlier one: its number is kept for an hour.
-- Includes: session, whole
-- KEYS[1] inflight
-- KEYS[2] workers
-- KEYS[3] checkpoints
-- KEYS[4] overtaking
-- ARGV[1] worker
-- ARGV[2] id
-- ARGV[3] token
-- ARGV[4] checkpoint
-- ARGV[5] number, which rises with each checkpoint of a claim
-- ARGV[6] 1 when an earlier one may come later
-- Returns 'ok', 'lost' when the session is over, 'gone' when the job is not held under the token.
local inflight = KEYS[1]
local workers = KEYS[2]
local checkpoints = KEYS[3]
local overtaking = KEYS[4]

redis.call('HDEL', inflight, '')
if not registered(workers, ARGV[1]) then
  return 'lost'
end
if redis.call('HGET', inflight, ARGV[2]) ~= ARGV[3] then
  return 'gone'
end
if tonumber(ARGV[5]) < whole(redis.call('GET', overtaking)) then
  return 'ok'
end
redis.call('HSET', checkpoints, ARGV[2], ARGV[4])
if ARGV[6] == '1' then
  redis.call('SET', overtaking, ARGV[5], 'PX', 3600000)
end
return 'ok'
