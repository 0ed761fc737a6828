#include "rpc.h"

#include "error.h"
#include "guard.h"
#include "log.h"

#ifdef MATA_RPC
#include "ggml-rpc.h"

// 0009-rpc-lost-server.patch
extern "C" int64_t mata_rpc_n_lost(const char * endpoint);
extern "C" void    mata_rpc_forget_lost(const char * endpoint);
#endif

namespace mata {

bool rpc_available() {
#ifdef MATA_RPC
    return true;
#else
    return false;
#endif
}

#ifdef MATA_RPC

static std::vector<ggml_backend_dev_t> own_devices() {
    std::vector<ggml_backend_dev_t> devices;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        const auto         type   = ggml_backend_dev_type(device);
        if (type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU) {
            devices.push_back(device);
        }
    }
    return devices;
}

std::vector<ggml_backend_dev_t> rpc_devices(const std::vector<std::string> & servers) {
    std::vector<ggml_backend_dev_t> devices;
    for (const std::string & server : servers) {
        take_logged_errors();
        ggml_backend_reg_t reg = nullptr;
        try {
            Guard guard;
            // llama.cpp's list of devices is left alone: other models of this process stay on this machine
            reg = ggml_backend_rpc_add_server(server.c_str());
        } catch (const std::exception & e) {
            throw Error(ErrorKind::Model, "the RPC server " + server + " cannot be used: " + e.what());
        }
        if (!reg) {
            throw Error(ErrorKind::Model, "the RPC server " + server + " offers no device");
        }
        for (size_t i = 0; i < ggml_backend_reg_dev_count(reg); i++) {
            devices.push_back(ggml_backend_reg_dev_get(reg, i));
        }
    }
    for (ggml_backend_dev_t device : own_devices()) {
        devices.push_back(device);
    }
    devices.push_back(nullptr);
    return devices;
}

void rpc_forget_lost(const std::vector<std::string> & servers) {
    for (const std::string & server : servers) {
        mata_rpc_forget_lost(server.c_str());
    }
}

int64_t rpc_n_lost(const std::vector<std::string> & servers) {
    int64_t n = 0;
    for (const std::string & server : servers) {
        n += mata_rpc_n_lost(server.c_str());
    }
    return n;
}

void rpc_serve(const std::string & address, int32_t n_threads, const std::string & cache) {
    std::vector<ggml_backend_dev_t> devices = own_devices();
    if (devices.empty()) {
        devices.push_back(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
    }
    ggml_backend_rpc_start_server(address.c_str(), cache.empty() ? nullptr : cache.c_str(), (size_t) n_threads, devices.size(), devices.data());
}

#else

static constexpr const char * MISSING = "this build has no RPC: build with -DMATA_RPC=ON";

std::vector<ggml_backend_dev_t> rpc_devices(const std::vector<std::string> &) {
    throw Error(ErrorKind::Argument, MISSING);
}

void rpc_forget_lost(const std::vector<std::string> &) {
}

int64_t rpc_n_lost(const std::vector<std::string> &) {
    return 0;
}

void rpc_serve(const std::string &, int32_t, const std::string &) {
    throw Error(ErrorKind::Argument, MISSING);
}

#endif

} // namespace mata
