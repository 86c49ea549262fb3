-- marked returns the ids of those held jobs that are to be canceled; held is what HGETALL says of an inflight hash.
local function marked(held, cancels)
  local canceled = {}
  for from = 1, #held, 1000 do
    local ids = {}
    for i = from, math.min(from + 999, #held), 2 do
      ids[#ids + 1] = held[i]
    end
    for i, mark in ipairs(redis.call('HMGET', cancels, unpack(ids))) do
      if mark then
        canceled[#canceled + 1] = ids[i]
      end
    end
  end
  return canceled
end
