-- known_as answers for an id that the queue has: 'known' when it waits or is held, else how it ended, 'f' as failed, 'c' as
-- canceled, '?' when that isn't known.
local function known_as(id, dead, history)
  if not redis.call('ZSCORE', dead, id) then
    return 'known'
  end
  local state = ended(redis.call('HGET', history, id))
  return state == '' and '?' or state
end

-- keeper_of returns the id of the job whose unique key keeps a new one out, nil when none does. An id that the queue has is
-- not kept out.
local function keeper_of(unique, id, jobs)
  local holder = holder_of(unique)
  if holder ~= id and holder and redis.call('HEXISTS', jobs, id) == 0 then
    return holder
  end
end
