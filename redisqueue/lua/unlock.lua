-- unlock: frees unique keys of jobs that a worker holds, before they end.
-- Includes: session, holder, free
-- KEYS[1] inflight
-- KEYS[2] workers
-- KEYS[3] unique...
-- ARGV[1] worker
-- ARGV[2…] id and token of the job of each key
-- Returns 'lost' when the session is over, else 'ok'. Of a job that is not held under its token nothing is freed.
local inflight = KEYS[1]
local workers = KEYS[2]

redis.call('HDEL', inflight, '')
if not registered(workers, ARGV[1]) then
  return 'lost'
end

for i = 3, #KEYS do
  local at = 2 * i - 4
  local id = ARGV[at]
  if redis.call('HGET', inflight, id) == ARGV[at + 1] then
    free(KEYS[i], id)
  end
end
return 'ok'
