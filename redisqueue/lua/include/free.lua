-- free frees a unique key, if the job has it.
local function free(unique, id)
  if holder_of(unique) == id then
    redis.call('DEL', unique)
  end
end
