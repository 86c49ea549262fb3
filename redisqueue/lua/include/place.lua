-- changed_workers returns the reply {'again', worker, …} with all workers when they are not exactly ARGV[first] to the
-- last one, else nil: a script that must know whether a job is held has to be given every worker's inflight hash.
local function changed_workers(workers, first)
  local names = redis.call('ZRANGE', workers, 0, -1)
  local given, reply = {}, {'again'}
  for i = first, #ARGV do
    given[ARGV[i]] = true
  end
  local same = #names == #ARGV - first + 1
  for _, name in ipairs(names) do
    same = same and given[name]
    reply[#reply + 1] = name -- one by one: there may be more than unpack can take
  end
  if not same then
    return reply
  end
end

-- place_of tells where a job is: 'held' in one of KEYS[first] to the last one, 'dead', 'waiting' or 'unknown'.
local function place_of(id, jobs, dead, first)
  for i = first, #KEYS do
    if redis.call('HEXISTS', KEYS[i], id) == 1 then
      return 'held'
    end
  end
  if redis.call('ZSCORE', dead, id) then
    return 'dead'
  end
  if redis.call('HEXISTS', jobs, id) == 1 then
    return 'waiting'
  end
  return 'unknown'
end
