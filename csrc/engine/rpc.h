// Layers on other machines, by llama.cpp's RPC backend. Its protocol has neither authentication nor encryption.

#pragma once

#include "ggml-backend.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mata {

// Whether this build has the backend.
bool rpc_available();

// The devices of servers ("host:port"), and behind them those of this machine that are no CPU; ends with null.
// Throws Error (Model) for one that cannot be used.
std::vector<ggml_backend_dev_t> rpc_devices(const std::vector<std::string> & servers);

// Finds out which connections are lost, and makes new ones possible while their models still live.
void rpc_forget_lost(const std::vector<std::string> & servers);

// How many connections to these servers were lost so far in this process; what was asked of a lost one is answered with
// zeros.
int64_t rpc_n_lost(const std::vector<std::string> & servers);

// Serves the devices of this machine, or its CPU, until the process ends. cache: a folder for weights that were received,
// "" for none. Throws Error where the backend is missing; returns where the address cannot be used.
void rpc_serve(const std::string & address, int32_t n_threads, const std::string & cache);

} // namespace mata
