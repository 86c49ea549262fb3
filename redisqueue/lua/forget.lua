-- forget: drops what is kept of dead jobs. Others stay as they are.
-- KEYS[1] jobs
-- KEYS[2] history
-- KEYS[3] checkpoints
-- KEYS[4] cancels
-- KEYS[5] dead
-- ARGV[1…] ids, at most 500
-- Returns how many were dead.
local jobs = KEYS[1]
local history = KEYS[2]
local checkpoints = KEYS[3]
local cancels = KEYS[4]
local dead = KEYS[5]

redis.call('ZREM', dead, '')
local ids = {}
for _, id in ipairs(ARGV) do
  if redis.call('ZSCORE', dead, id) then
    ids[#ids + 1] = id
  end
end
if #ids == 0 then
  return 0
end
redis.call('HDEL', history, unpack(ids))
redis.call('HDEL', checkpoints, unpack(ids))
redis.call('HDEL', cancels, unpack(ids))
redis.call('HDEL', jobs, unpack(ids))
return redis.call('ZREM', dead, unpack(ids))
