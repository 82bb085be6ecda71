/* A stand-in for libcuda.so.1, NVIDIA's driver as programs see it. It claims one GPU.
 *
 * TensorFlow looks for its CUDA libraries only where there is a GPU. With this it does so
 * on any machine, and /proc/self/maps then shows which files it took. These are all the
 * functions that TensorFlow 2.21 calls before it has registered a GPU. Nothing can be
 * computed: the CUDA runtime asks for more at once, cuGetExportTable, which NVIDIA has not
 * documented; torch, which asks the runtime, sees no GPU.
 *
 * Each returns a CUresult, of which 0 is success; a CUdevice is an int (cuda.h).
 */
#include <stddef.h>
#include <string.h>

/* Of CUdevice_attribute: those by which TensorFlow judges whether it can use a GPU. */
enum { WARP_SIZE = 10, COMPUTE_MAJOR = 75, COMPUTE_MINOR = 76 };

int cuInit(unsigned flags) {
    (void)flags;
    return 0;
}

int cuDriverGetVersion(int *version) {
    *version = 13000; /* CUDA 13.0: new enough for both frameworks */
    return 0;
}

int cuDeviceGetCount(int *count) {
    *count = 1;
    return 0;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

int cuDeviceGetName(char *name, int size, int device) {
    (void)device;
    strncpy(name, "stand-in", (size_t)size);
    return 0;
}

int cuDeviceGetPCIBusId(char *id, int size, int device) {
    (void)device;
    strncpy(id, "0000:00:00.0", (size_t)size);
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    (void)device;
    *bytes = (size_t)1 << 30;
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case COMPUTE_MAJOR: *value = 9; break;
    case COMPUTE_MINOR: *value = 0; break;
    case WARP_SIZE: *value = 32; break;
    default: *value = 1024; /* clocks, sizes and limits, which are only reported */
    }
    return 0;
}
