-- put_back gives ids back to the head of the queue, the last one first in line. Each counts a crash when crash is 1, and
-- then nobody knows any more since when it could run; those with threshold crashes go to the suspects. It only adds: the
-- caller removes them from where they were.
local function put_back(pending, suspects, history, ids, crash, threshold)
  local values = look_up(history, ids)
  local to_pending, to_suspects, to_history = {}, {}, {}
  for i, id in ipairs(ids) do
    local attempts, crashes = counts(values[i])
    crashes = crashes + crash
    if crash > 0 then
      to_history[#to_history + 1] = id
      to_history[#to_history + 1] = attempts .. ' ' .. crashes
    end
    local target = crashes >= threshold and to_suspects or to_pending
    target[#target + 1] = id
  end
  if #to_history > 0 then
    redis.call('HSET', history, unpack(to_history))
  end
  if #to_suspects > 0 then
    redis.call('LPUSH', suspects, unpack(to_suspects))
  end
  if #to_pending > 0 then
    redis.call('LPUSH', pending, unpack(to_pending))
  end
end
