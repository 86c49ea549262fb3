-- holders: tells who has the unique keys of jobs that are about to come. It writes nothing.
-- Includes: holder
-- KEYS[1] jobs
-- KEYS[2] dead
-- KEYS[3] unique...
-- ARGV[1…] two for the job of each key: id, and 1 when the holder's body is wanted, else 0
-- Returns two for each: the holder's id and its body. The id is '' when the key is free, when the job itself has it, or when
--   that waits or is held anyway; the body is '' when it isn't wanted or there is none.
local jobs = KEYS[1]
local dead = KEYS[2]

local answer = {}
for i = 3, #KEYS do
  local at = 2 * i - 5
  local id = ARGV[at]
  local holder = holder_of(KEYS[i])
  local known = redis.call('HEXISTS', jobs, id) == 1 and not redis.call('ZSCORE', dead, id)
  if not holder or holder == id or known then
    holder = ''
  end
  local wanted = holder ~= '' and ARGV[at + 1] == '1'
  answer[#answer + 1] = holder
  answer[#answer + 1] = wanted and redis.call('HGET', jobs, holder) or ''
end
return answer
