-- touch: writes something that changes nothing, so that a WAIT behind it on the same connection waits for replicas to
-- have all that this server has executed before.
-- KEYS[1] workers
-- KEYS[2] token
-- Returns 1.
local workers = KEYS[1]
local token = KEYS[2]

redis.call('ZREM', workers, '')
redis.call('SET', token, redis.call('GET', token) or '0')
return 1
