-- registered returns whether a worker's session is open: its lease may have run out, but nobody took over.
local function registered(workers, worker)
  local deadline = redis.call('ZSCORE', workers, worker)
  return deadline and tonumber(deadline) > 0
end
