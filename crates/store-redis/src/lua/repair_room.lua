-- Has a live room without a task enqueued. KEYS: stream, worker, paused. Returns 1 if it was.
local stream, worker, paused = KEYS[1], KEYS[2], KEYS[3]
if redis.call('EXISTS', stream) == 0 or redis.call('SISMEMBER', paused, stream) == 1 then return 0 end
local has_one = each_task(worker, function(_, fields)
  if fields[1] == 'compact' and fields[2] == stream then return true end
end)
if has_one then return 0 end
enqueue(worker, stream)
return 1
