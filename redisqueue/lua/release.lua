-- release: frees a unique key, whoever has it, also when what stands there is no id.
-- Includes: holder
-- KEYS[1] unique
-- Returns the id of the job that had it, '' when it was free.
local unique = KEYS[1]

local holder = holder_of(unique)
redis.call('DEL', unique)
return holder or ''
