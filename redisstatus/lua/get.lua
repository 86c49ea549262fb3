-- get: returns a row. It is a script so that a replica never answers it.
-- KEYS[1] row
-- Returns {status, encoded job}, each '' when there is none.
local row = KEYS[1]

local fields = redis.call('HMGET', row, 'status', 'job')
return {fields[1] or '', fields[2] or ''}
