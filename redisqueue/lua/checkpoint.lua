-- checkpoint: replaces the checkpoint of a job that a worker holds.
-- Includes: session
-- KEYS[1] inflight
-- KEYS[2] workers
-- KEYS[3] checkpoints
-- ARGV[1] worker
-- ARGV[2] id
-- ARGV[3] token
-- ARGV[4] checkpoint
-- Returns 'ok', 'lost' when the session is over, 'gone' when the job is not held under the token.
local inflight = KEYS[1]
local workers = KEYS[2]
local checkpoints = KEYS[3]

redis.call('HDEL', inflight, '')
if not registered(workers, ARGV[1]) then
  return 'lost'
end
if redis.call('HGET', inflight, ARGV[2]) ~= ARGV[3] then
  return 'gone'
end
redis.call('HSET', checkpoints, ARGV[2], ARGV[4])
return 'ok'
