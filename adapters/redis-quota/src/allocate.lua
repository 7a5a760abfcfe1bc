-- Takes what one request asks from all of its counters, or from none. Redis runs it alone: nothing happens in between.
--
-- KEYS     the counters, each once; then, if ARGV[2] is 1, the key that remembers the answer under the request's id; then keys
--          of remembered answers that are to be forgotten.
-- ARGV     the number of counters; whether there is an id; whether the request is refused elsewhere (then it only gives back);
--          then ten per ask: which counter, algorithm, cost, extra, over, age, amount, window, and two more (see terms.rs).
-- returns  four per ask: 0 granted or 1 refused, extra taken, tokens left, microseconds to wait (-1: never).
--
-- Time is in microseconds of this server's clock. All numbers are integers below 2^53, which a Lua number holds exactly.

local CELLS, MOST_SLOTS, ASK, LINGER = 64, 192, 10, 60000000
local FIRST = 4

local counters, has_id, refused = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3] == '1'
local id = has_id and KEYS[counters + 1]
if id then
  local answer = redis.call('GET', id)
  if answer then return cmsgpack.unpack(answer) end
end
for at = counters + (has_id and 2 or 1), #KEYS do redis.call('DEL', KEYS[at]) end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function set(key, value, micros)
  redis.call('SET', key, value, 'PX', math.ceil(micros / 1000) + 1)
end

-- An algorithm reads a counter (load), tells what is free of `times` the amount and how long to wait for tokens, takes, gives back, and
-- writes the counter (save).

-- A sliding window, and what is held of a concurrency limit (a window as long as the hold): slots of (time of the last spending in it, tokens), the oldest first, behind the longest window that was
-- asked about. Spendings in the same 1/64 of the window share a slot, which has the later time.
local sliding = {}

function sliding.load(counter, value)
  counter.at, counter.tokens, counter.count, counter.longest = {}, {}, 0, 0
  if not value then return end
  local numbers = { struct.unpack('<' .. string.rep('d', #value / 8), value) }
  counter.longest, counter.count = numbers[1], (#value / 8 - 1) / 2
  -- Behind the last spending: this is another server's clock, or it was set back. Nothing may be forgotten early.
  local ahead = math.max(0, numbers[2 * counter.count] - now)
  counter.changed = ahead > 0
  for slot = 1, counter.count do
    counter.at[slot], counter.tokens[slot] = numbers[2 * slot] - ahead, numbers[2 * slot + 1]
  end
end

function sliding.spent(counter, ask)
  local spent = 0
  for slot = 1, counter.count do
    if counter.at[slot] + ask.window > now then spent = spent + counter.tokens[slot] end
  end
  return spent
end

function sliding.free(counter, ask, times)
  return math.max(0, ask.amount * times - sliding.spent(counter, ask))
end

function sliding.wait(counter, ask, tokens)
  local needed, forgotten, wait = sliding.spent(counter, ask) + tokens - ask.amount, 0, 0
  for slot = 1, counter.count do
    if forgotten >= needed then break end
    if counter.at[slot] + ask.window > now then
      forgotten = forgotten + counter.tokens[slot]
      wait = counter.at[slot] + ask.window - now
    end
  end
  return wait
end

-- Rewrites the slots: `keep` yields the tokens that stay of a slot, `joins` whether a slot joins the one kept before it.
local function rewrite(counter, keep, joins)
  local at, tokens, count = {}, {}, 0
  for slot = 1, counter.count do
    local time, kept = counter.at[slot], keep(counter.at[slot], counter.tokens[slot])
    if kept > 0 then
      if count > 0 and joins(at[count], time) then
        at[count], tokens[count] = time, tokens[count] + kept
      else
        count = count + 1
        at[count], tokens[count] = time, kept
      end
    end
  end
  counter.at, counter.tokens, counter.count = at, tokens, count
end

local function never() return false end

function sliding.take(counter, ask, tokens)
  counter.longest = math.max(counter.longest, ask.window)
  if counter.count > 0 and counter.at[1] + counter.longest <= now then
    rewrite(counter, function(at, kept) return at + counter.longest > now and kept or 0 end, never)
  end
  local last, cell = counter.count, math.max(1, math.floor(ask.window / CELLS))
  if last > 0 and math.floor(counter.at[last] / cell) == math.floor(now / cell) then
    counter.at[last], counter.tokens[last] = now, counter.tokens[last] + tokens
  else
    counter.count = last + 1
    counter.at[last + 1], counter.tokens[last + 1] = now, tokens
  end
  if counter.count <= MOST_SLOTS then return end
  -- Limits of several windows in turn: slots of one cell of the longest window are joined, first those that the asked window no
  -- longer counts.
  cell = math.max(1, math.floor(counter.longest / CELLS))
  local function all(_, kept) return kept end
  local function share(at, time) return math.floor(at / cell) == math.floor(time / cell) end
  rewrite(counter, all, function(at, time) return time + ask.window <= now and share(at, time) end)
  if counter.count > MOST_SLOTS then rewrite(counter, all, share) end
end

-- The oldest first: whichever spending it was that did not happen, what remains is counted at least as long as it must be.
function sliding.give_back(counter, ask, tokens)
  if ask.age >= ask.window then return end
  rewrite(counter, function(at, kept)
    if at + ask.window <= now then return kept end
    local given = math.min(kept, tokens)
    tokens = tokens - given
    return kept - given
  end, never)
end

function sliding.save(counter)
  if counter.count == 0 then return redis.call('DEL', counter.key) end
  local numbers = { counter.longest }
  for slot = 1, counter.count do
    numbers[2 * slot], numbers[2 * slot + 1] = counter.at[slot], counter.tokens[slot]
  end
  local value = struct.pack('<' .. string.rep('d', #numbers), unpack(numbers))
  set(counter.key, value, counter.at[counter.count] + counter.longest - now)
end

-- A bucket that refills evenly: what is missing from it, in ticks (`scale` a microsecond, `per` a token), at a time.
local bucket = {}

function bucket.load(counter, value)
  if not value then
    counter.at, counter.missing, counter.per, counter.scale = now, 0, 1, 1
    return
  end
  counter.at, counter.missing, counter.per, counter.scale = struct.unpack('<dddd', value)
  if counter.at > now then counter.at, counter.changed = now, true end
end

function bucket.missing(counter, ask)
  local missing = math.max(0, counter.missing - (now - counter.at) * counter.scale)
  if counter.per == ask.per and counter.scale == ask.scale then return missing end
  -- The limit has changed: as many tokens are missing as before, and of the one that is coming back as much, rounded up.
  local tokens = math.floor(missing / counter.per)
  local part = missing - tokens * counter.per
  if part > 0 then part = math.min(ask.per, math.ceil(part / counter.per * ask.per) + 1) end
  return tokens * ask.per + part
end

function bucket.free(counter, ask, times)
  return math.max(0, math.floor((ask.amount * times * ask.per - bucket.missing(counter, ask)) / ask.per))
end

function bucket.wait(counter, ask, tokens)
  return math.ceil((bucket.missing(counter, ask) + (tokens - ask.amount) * ask.per) / ask.scale)
end

local function fill(counter, ask, missing)
  counter.at, counter.missing, counter.per, counter.scale = now, math.max(0, missing), ask.per, ask.scale
end

function bucket.take(counter, ask, tokens)
  fill(counter, ask, bucket.missing(counter, ask) + tokens * ask.per)
end

function bucket.give_back(counter, ask, tokens)
  fill(counter, ask, bucket.missing(counter, ask) - tokens * ask.per)
end

function bucket.save(counter)
  if counter.missing == 0 then return redis.call('DEL', counter.key) end
  local value = struct.pack('<dddd', counter.at, counter.missing, counter.per, counter.scale)
  set(counter.key, value, counter.missing / counter.scale)
end

-- A window that its first token opened.
local opened = {}

function opened.load(counter, value)
  counter.at, counter.tokens, counter.longest = now, 0, 0
  if not value then return end
  counter.at, counter.tokens, counter.longest = struct.unpack('<ddd', value)
  if counter.at > now then counter.at, counter.changed = now, true end
end

function opened.spent(counter, ask)
  return counter.at + ask.window > now and counter.tokens or 0
end

function opened.free(counter, ask, times)
  return math.max(0, ask.amount * times - opened.spent(counter, ask))
end

function opened.wait(counter, ask)
  return counter.at + ask.window - now
end

function opened.take(counter, ask, tokens)
  if opened.spent(counter, ask) == 0 then counter.at, counter.tokens = now, 0 end
  counter.tokens, counter.longest = counter.tokens + tokens, math.max(counter.longest, ask.window)
end

function opened.give_back(counter, ask, tokens)
  if now - ask.age >= counter.at then counter.tokens = math.max(0, counter.tokens - tokens) end
end

function opened.save(counter)
  if counter.tokens == 0 then return redis.call('DEL', counter.key) end
  local value = struct.pack('<ddd', counter.at, counter.tokens, counter.longest)
  set(counter.key, value, math.max(0, counter.at + counter.longest - now))
end

-- A window of the calendar: its number, when it ends, tokens. Who asks tells the number; one whose clock is behind counts in the
-- window that is.
local calendar = {}

function calendar.load(counter, value)
  counter.number, counter.ends, counter.tokens = 0, 0, 0
  if value then counter.number, counter.ends, counter.tokens = struct.unpack('<ddd', value) end
end

function calendar.spent(counter, ask)
  local ahead = counter.number > ask.number and counter.ends > now
  return (ahead or counter.number == ask.number) and counter.tokens or 0
end

function calendar.free(counter, ask, times)
  return math.max(0, ask.amount * times - calendar.spent(counter, ask))
end

function calendar.wait(counter, ask)
  return counter.number > ask.number and counter.ends - now or ask.ends_in
end

function calendar.take(counter, ask, tokens)
  local spent = calendar.spent(counter, ask)
  if spent == 0 or counter.number <= ask.number then counter.number, counter.ends = ask.number, now + ask.ends_in end
  counter.tokens = spent + tokens
end

function calendar.give_back(counter, ask, tokens)
  if counter.number == ask.number then counter.tokens = math.max(0, counter.tokens - tokens) end
end

-- A key outlives its window a little: who numbers the windows may have a clock that is behind.
function calendar.save(counter)
  if counter.tokens == 0 then return redis.call('DEL', counter.key) end
  local value = struct.pack('<ddd', counter.number, counter.ends, counter.tokens)
  set(counter.key, value, math.max(0, counter.ends - now) + LINGER)
end

local algorithms = { w = sliding, h = sliding, g = bucket, f = opened, c = calendar }

local asks, held = {}, {}
for at = FIRST, #ARGV, ASK do
  local number, algorithm = tonumber(ARGV[at]), algorithms[ARGV[at + 1]]
  if not held[number] then
    held[number] = { key = KEYS[number], needs = 0, algorithm = algorithm }
    algorithm.load(held[number], redis.call('GET', KEYS[number]))
  end
  asks[#asks + 1] = {
    counter = held[number],
    algorithm = algorithm,
    cost = tonumber(ARGV[at + 2]),
    extra = tonumber(ARGV[at + 3]),
    over = ARGV[at + 4],
    age = tonumber(ARGV[at + 5]),
    amount = tonumber(ARGV[at + 6]),
    window = tonumber(ARGV[at + 7]),
  }
  local ask, one, other = asks[#asks], tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9])
  if algorithm == bucket then ask.per, ask.scale = one, other end
  if algorithm == calendar then ask.number, ask.ends_in = one, other end
end

local function free(ask, times)
  return ask.algorithm.free(ask.counter, ask, times or 1)
end

local function take(ask, tokens)
  if tokens == 0 then return end
  ask.algorithm.take(ask.counter, ask, tokens)
  ask.counter.changed = true
end

-- How long to wait for an ask together with those of the same counter before it; -1 for ever, nothing if it can be granted.
local function wait(ask)
  if ask.cost <= 0 or ask.over == 'owe' then return end
  if ask.needs > ask.amount then return -1 end
  if ask.needs > free(ask) then return math.max(1, ask.algorithm.wait(ask.counter, ask, ask.needs)) end
end

-- Giving back is never refused, and what it frees may be taken by the same request.
for _, ask in ipairs(asks) do
  if ask.cost < 0 then
    ask.algorithm.give_back(ask.counter, ask, -ask.cost)
    ask.counter.changed = true
  end
end

for _, ask in ipairs(asks) do
  if ask.cost > 0 then
    ask.counter.needs = ask.counter.needs + ask.cost
    ask.needs = ask.counter.needs
  end
  ask.wait = wait(ask)
  refused = refused or ask.wait ~= nil
end

if refused then
  for _, ask in ipairs(asks) do
    if ask.over == 'count' and ask.cost > 0 then take(ask, math.min(ask.cost, free(ask, 2))) end
  end
  -- What was counted makes the wait longer.
  for _, ask in ipairs(asks) do ask.wait = ask.wait and (wait(ask) or ask.wait) end
else
  for _, ask in ipairs(asks) do take(ask, math.max(0, ask.cost)) end
  for _, ask in ipairs(asks) do
    ask.more = math.min(ask.extra, free(ask))
    take(ask, ask.more)
  end
end

local answer = {}
for _, ask in ipairs(asks) do
  answer[#answer + 1] = ask.wait and 1 or 0
  answer[#answer + 1] = ask.more or 0
  answer[#answer + 1] = free(ask)
  answer[#answer + 1] = ask.wait or 0
end
for _, counter in pairs(held) do
  if counter.changed then counter.algorithm.save(counter) end
end
if id then redis.call('SET', id, cmsgpack.pack(answer), 'PX', 60000) end
return answer
