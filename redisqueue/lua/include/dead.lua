-- trim_dead forgets the oldest dead jobs beyond max_count, then those older than max_age ms, and returns how many. It
-- forgets at most limit of either kind: the caller comes again.
local function trim_dead(dead, jobs, history, checkpoints, now, max_age, max_count, limit)
  local trimmed = 0
  local function forget(ids)
    if #ids > 0 then
      redis.call('HDEL', history, unpack(ids))
      redis.call('HDEL', checkpoints, unpack(ids))
      redis.call('HDEL', jobs, unpack(ids))
      redis.call('ZREM', dead, unpack(ids))
      trimmed = trimmed + #ids
    end
  end
  local excess = math.min(redis.call('ZCARD', dead) - max_count, limit)
  if excess > 0 then
    forget(redis.call('ZRANGE', dead, 0, excess - 1))
  end
  forget(redis.call('ZRANGEBYSCORE', dead, '-inf', '(' .. string.format('%.0f', now - max_age), 'LIMIT', 0, limit))
  return trimmed
end
