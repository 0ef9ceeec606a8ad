-- Pauses the compaction of a room. KEYS: stream, worker, claims, delayed, paused. Returns 0 if it was paused already.
local stream, worker, claims, delayed, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local is_new = redis.call('SADD', paused, stream)
each_task(worker, function(id, fields)
  if fields[1] == 'compact' and fields[2] == stream then drop_task(worker, claims, delayed, id) end
end)
return is_new
