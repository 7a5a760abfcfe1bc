-- Takes a plain request's costs from all of its counters, or from none: what nearly every request is, and nothing else. Each counter
-- is asked once, with a cost above zero that is refused where it is too much, in a sliding window, of what is held, or from a
-- bucket. It reads and writes what allocate.lua does, and answers the same; that script says what the numbers mean.
--
-- Redis runs a script anew each time, so that every function and table in it is made anew: here are none but the answer's.
--
-- KEYS     the counters, each once; then, if there is an id, the key that remembers the answer under it.
-- ARGV     one: five doubles per counter: cost, amount, window, ticks per token and per microsecond (both 0: no bucket).
-- returns  as allocate.lua; nothing (and nothing is taken) where a counter is not as it mostly is: from a clock that is ahead, of
--          another limit, or of too many slots. Then allocate.lua is to be asked.

local CELLS, MOST_SLOTS, ASK = 64, 192, 40

local call, unpack, pack, floor, ceil = redis.call, struct.unpack, struct.pack, math.floor, math.ceil
local terms = ARGV[1]
local counters = #terms / ASK

local id = KEYS[counters + 1]
if id then
  local answer = call('GET', id)
  if answer then return cmsgpack.unpack(answer) end
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]

local answer, values, lives, refused = {}, {}, {}, false
for number = 1, counters do
  local cost, amount, window, per, scale = unpack('<ddddd', terms, ASK * (number - 1) + 1)
  local value = call('GET', KEYS[number])
  local free, wait = amount, 0
  if scale > 0 then
    local missing = 0
    if value then
      local at, before, its_per, its_scale = unpack('<dddd', value)
      if at > now or its_per ~= per or its_scale ~= scale then return false end
      missing = before - (now - at) * scale
      if missing < 0 then missing = 0 end
      free = floor((amount * per - missing) / per)
      if free < 0 then free = 0 end
    end
    if cost > free then
      wait = ceil((missing + (cost - amount) * per) / scale)
    else
      missing = missing + cost * per
      values[number], lives[number] = pack('<dddd', now, missing, per, scale), missing / scale
    end
  else
    -- From the newest slot back to the oldest that is not forgotten.
    local spent, longest, count, oldest = 0, window, 0, 1
    local last, in_last = 0, 0
    if value then
      count = (#value - 8) / 16
      longest, last, in_last = unpack('<d', value), unpack('<dd', value, 16 * count - 7)
      if last > now or count >= MOST_SLOTS then return false end
      if longest < window then longest = window end
      oldest = count + 1
      while oldest > 1 do
        local at, tokens = unpack('<dd', value, 16 * oldest - 23)
        if at + longest <= now then break end
        if at + window > now then spent = spent + tokens end
        oldest = oldest - 1
      end
      free = amount - spent
      if free < 0 then free = 0 end
    end
    if cost > free then
      local needed = spent + cost - amount
      for slot = oldest, count do
        local at, tokens = unpack('<dd', value, 16 * slot - 7)
        if at + window > now then
          needed, wait = needed - tokens, at + window - now
          if needed <= 0 then break end
        end
      end
    else
      local cell = floor(window / CELLS)
      if cell < 1 then cell = 1 end
      local joined = oldest <= count and floor(last / cell) == floor(now / cell)
      local kept, tokens = count, cost
      if joined then kept, tokens = count - 1, in_last + cost end
      if oldest > kept then
        values[number] = pack('<ddd', longest, now, tokens)
      else
        values[number] = pack('<d', longest) .. value:sub(16 * oldest - 7, 16 * kept + 8) .. pack('<dd', now, tokens)
      end
      lives[number] = longest
    end
  end
  if cost > free then
    refused = true
    if cost > amount then wait = -1 elseif wait < 1 then wait = 1 end
  end
  answer[4 * number - 3], answer[4 * number - 2] = cost > free and 1 or 0, 0
  answer[4 * number - 1], answer[4 * number] = free, wait
end

if not refused then
  for number = 1, counters do
    call('SET', KEYS[number], values[number], 'PX', ceil(lives[number] / 1000) + 1)
    answer[4 * number - 1] = answer[4 * number - 1] - unpack('<d', terms, ASK * (number - 1) + 1)
  end
end
if id then call('SET', id, cmsgpack.pack(answer), 'PX', 60000) end
return answer
