-- Ends the pause of a room. KEYS: stream, worker, paused. Returns 0 if it was not paused.
local stream, worker, paused = KEYS[1], KEYS[2], KEYS[3]
if redis.call('SREM', paused, stream) == 0 then return 0 end
if redis.call('EXISTS', stream) == 1 then enqueue(worker, stream) end
return 1
